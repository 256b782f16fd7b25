//! Reading this host. Nothing here changes anything.

pub(crate) mod advice;
pub(crate) mod common;
pub(crate) mod earlier;
pub(crate) mod facts;
pub(crate) mod inventory;
pub(crate) mod joins;
pub mod probe;
pub(crate) mod subid;

pub use crate::target::{find_in_proc, pid_in_proc};
pub use common::{advice_on, advice_on_proc, has_proc};
pub use facts::{Host, own_maps};
pub use inventory::{Entry, Holder, Inventory};
pub use joins::JoinFact;
pub use subid::ranges as subordinate_ids;
