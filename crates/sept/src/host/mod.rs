//! Reading this host. Nothing here changes anything.

pub(crate) mod advice;
mod facts;
mod subid;

pub use facts::Host;
