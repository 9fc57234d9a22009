//! The next deadline lies ahead: a loop that is woken at it never spins.

use homeostat_control::Control;
use homeostat_model::Timestamp;

pub(crate) fn check(now: Timestamp, control: &Control) {
    if let Some(at) = control.next_deadline() {
        assert!(now < at, "a deadline {} ns in the past", now.since(at).ns());
    }
}
