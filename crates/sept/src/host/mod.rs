//! Reading this host. Nothing here changes anything.

pub(crate) mod advice;
mod facts;
pub(crate) mod joins;
mod subid;

pub use facts::Host;
pub use joins::JoinFact;
