//! From outcomes of requests to good and bad events.

use homeostat_model::{OutcomeCounts, Span, evidence::EventCounts, objective::Sli};

/// Counts the good and bad events of some outcomes.
///
/// Availability: every request counts; bad is what the service failed ([`OutcomeCounts::bad`]).
/// Latency: every answered request counts; bad is what was slower than the threshold. `thresholds` are those of the
/// service, in the order of [`OutcomeCounts::slow`]; `None` when the SLI's threshold is not among them, because then
/// nobody counted.
pub fn events(sli: Sli, thresholds: &[Span], counts: &OutcomeCounts) -> Option<EventCounts> {
    match sli {
        Sli::Availability => Some(EventCounts { good: counts.answered(), bad: counts.bad() }),
        Sli::Latency { threshold } => {
            let index = thresholds.iter().position(|counted| *counted == threshold)?;
            let bad = *counts.slow.get(index)?;
            // A counter read between its two increments may be ahead of the other one by a request.
            Some(EventCounts { good: counts.answered().saturating_sub(bad), bad })
        }
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::OutcomeClass;

    use super::*;

    #[test]
    fn every_outcome_counts_where_it_belongs() {
        let mut counts = OutcomeCounts::default();
        for (class, count) in OutcomeClass::ALL.into_iter().zip([100, 20, 3, 4, 5, 6]) {
            counts += OutcomeCounts::of(class, count);
        }
        counts.slow = [30, 7, 0, 0];
        let thresholds = [Span::from_ms(50), Span::from_ms(200)];
        let latency = |ms| events(Sli::Latency { threshold: Span::from_ms(ms) }, &thresholds, &counts);
        assert_eq!(events(Sli::Availability, &[], &counts), Some(EventCounts { good: 120, bad: 18 }));
        assert_eq!(latency(50), Some(EventCounts { good: 90, bad: 30 }));
        assert_eq!(latency(200), Some(EventCounts { good: 113, bad: 7 }));
        assert_eq!(latency(100), None, "nobody counted that");
    }
}
