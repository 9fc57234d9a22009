//! OTLP metrics in protobuf on arbitrary bytes: nothing panics, no series has labels that a sink may not see, limits
//! hold, and a look for deltas finds them whenever one is taken.
#![no_main]

use homeostat_wire::{
    intake::{Collected, IntakeLimits},
    otlp::{
        DeltaLimits, DeltaToCumulative, ExplicitHistograms, OtlpOptions, Promote, Strategy, decode_metrics, has_deltas,
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, body)) = bytes.split_first() else { return };
    let strategies = [
        Strategy::UnderscoreEscapingWithSuffixes,
        Strategy::UnderscoreEscapingWithoutSuffixes,
        Strategy::NoUtf8EscapingWithSuffixes,
        Strategy::NoTranslation,
    ];
    let options = OtlpOptions {
        limits: IntakeLimits { decoded_bytes_max: 1 << 16, ..IntakeLimits::default() },
        strategy: strategies[usize::from(choice & 3)],
        promote: Promote::AllExcept(Vec::new()),
        keep_identifying: choice & 4 != 0,
        promote_scope: choice & 8 != 0,
        explicit_histograms: match choice & 16 {
            0 => ExplicitHistograms::Classic,
            _ => ExplicitHistograms::CustomBounds,
        },
        ..OtlpOptions::default()
    };
    let mut totals = DeltaToCumulative::new(DeltaLimits { series_max: 8, buckets_max: 512, silence_ms_max: 1 }, 7);
    for _ in 0..2 {
        let mut read = Collected::default();
        let outcome = decode_metrics(body, &options, Some(&mut totals), &mut read);
        assert!(totals.len() <= 8);
        for series in &read.series {
            assert!(!series.labels.is_empty());
            assert!(series.labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
            assert!(series.histograms.iter().all(|sample| sample.histogram.check().is_ok()));
        }
        if let Ok(outcome) = outcome {
            assert!(outcome.rejected <= outcome.data_points);
            assert_eq!(outcome.rejected > 0, !outcome.message.is_empty());
            assert!(totals.is_empty() || has_deltas(body));
        }
    }
});
