//! The only maker of permits to act.

pub mod limits;
mod permit;

pub use limits::GuardLimits;
pub use permit::Admitted;
