//! The weights of every service add up to 100 %, ascending by version, one entry each.

use homeostat_control::Control;

pub(crate) fn check(control: &Control) {
    for (service, split) in control.desired_splits() {
        let sum: u32 = split.iter().map(|(_, weight)| u32::from(weight.basis_points())).sum();
        assert_eq!(sum, 10_000, "{service}: {split:?}");
        assert!(split.windows(2).all(|pair| pair[0].0 < pair[1].0), "{service}: {split:?}");
    }
}
