//! Control's state from any JSON: an error or a state, never a panic; a state that was read is written back the same, and
//! it survives what the first moments of a process do with it.
#![no_main]

use homeostat_control::{Control, Event};
use homeostat_model::{CellId, OutcomeClass, OutcomeCounts, OutcomeDelta, Span, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut control) = Control::restore(bytes) else { return };
    let written = control.snapshot().expect("a state can be written");
    let again = Control::restore(&written).expect("and read back");
    assert_eq!(again.snapshot().expect("as before"), written);

    control.desired_splits();
    control.view(Timestamp::from_unix_ms(0));
    let spec = control.spec().clone();
    let deltas = [0, 1, 2].map(|cell| OutcomeDelta {
        cell: CellId(cell),
        counts: OutcomeCounts::of(OutcomeClass::ServerError, u64::from(cell) + 1),
    });
    for event in [
        Event::Restarted,
        Event::Configured(Box::new(spec)),
        Event::Tick { deltas: deltas.to_vec() },
        Event::Tick { deltas: Vec::new() },
    ] {
        let now = control.next_deadline().unwrap_or(Timestamp::from_unix_ms(2_000_000_000_000));
        control.step(now, event);
        control.view(now + Span::from_secs(1));
    }
});
