//! Where the dead letters go of a consumer that has no store.
//!
//! A dead letter must be written before the position moves past its record (G2), and a consumer knows of no producer. So
//! the letterbox is given to it.

use futures::future::BoxFuture;

use crate::Result;
use crate::store::SetAside;

/// Takes dead letters.
pub(crate) trait Letterbox: Send + Sync {
    /// Writes a dead letter; done when every in-sync replica has it. A repeat has the same name.
    ///
    /// # Errors
    /// It may not be written; a retriable one says that another try may succeed.
    ///
    /// # Cancel safety
    /// It may be written all the same.
    fn post(&self, letter: SetAside) -> BoxFuture<'static, Result<()>>;
}
