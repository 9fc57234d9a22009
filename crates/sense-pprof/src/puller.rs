//! The life of one target: its profiles at each interval, until it is told to end.
//!
//! CPU time is measured while the other kinds are asked. What a target refuses is asked less and less often, what merely
//! fails at the next interval; whatever one kind does, the others go on. Targets spread over the interval by their labels.
//!
//! Who pulls may ask less often for a while ([`Pace`]): intervals are left out, each measurement stays as long as it was, and
//! growth of left-out intervals comes with the next reading.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use homeostat_model::{Labels, error_chain::chain, labels::METRIC_NAME, profile::Profile};
use homeostat_profile::delta;
use homeostat_sense_scrape::{
    fetch::{Fetcher, now_ms},
    manager::Workers,
    scraper::{SharedStatus, Status},
    spec::Job,
    target::Target,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    ask::{PullError, ask},
    kind::Kind,
    sink::ProfileSink,
};

/// The label that says whose profile it is.
const SERVICE: &str = "service_name";
/// The label that says it where that one does not.
const JOB: &str = "job";
/// Intervals that a kind is left alone at most after refusals: at fifteen seconds, eight minutes.
const LEFT_ALONE_MAX: u32 = 32;
/// Longest CPU measurement of an interval.
const MEASURE_MAX: Duration = Duration::from_mins(1);

/// What is pulled of all targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullJob {
    /// Which kinds.
    pub kinds: Vec<Kind>,
}

/// Which intervals a target is asked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Each.
    #[default]
    Every,
    /// Each second one.
    EveryOther,
    /// None. What is asked at that moment is given up.
    Never,
}

/// Pulls targets that discovery finds, in the place of scraping them.
#[derive(Debug)]
pub struct Pulling<S> {
    /// What is pulled.
    pub job: PullJob,
    /// Where it goes.
    pub sink: Arc<S>,
}

impl<S: ProfileSink> Workers for Pulling<S> {
    fn work(
        self: &Arc<Self>,
        _job: &Arc<Job>,
        target: Target,
        fetcher: Fetcher,
        status: SharedStatus,
        stop: CancellationToken,
        _gone: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (_, pace) = watch::channel(Pace::Every);
        Box::pin(Arc::clone(self).pull(target, fetcher, status, pace, stop))
    }
}

impl<S: ProfileSink> Pulling<S> {
    /// Pulls one target at a pace that may change, until `stop`. What is asked then is given up.
    pub async fn pull(
        self: Arc<Self>,
        target: Target,
        fetcher: Fetcher,
        status: SharedStatus,
        pace: watch::Receiver<Pace>,
        stop: CancellationToken,
    ) {
        let puller = Puller::new(self, target, fetcher, status, pace);
        stop.run_until_cancelled(puller.run()).await;
    }
}

/// What is known of one kind at one target.
#[derive(Debug, Default)]
struct Known {
    /// The last reading of what only grows, up to which growth was taken.
    before: Option<Arc<Profile>>,
    refusals: u32,
    /// Intervals until it is asked again.
    left_alone: u32,
    /// What was told last, so that it is told once.
    told: String,
}

#[derive(Debug)]
struct Puller<S> {
    pulling: Arc<Pulling<S>>,
    target: Target,
    base: String,
    fetcher: Fetcher,
    status: SharedStatus,
    pace: watch::Receiver<Pace>,
    known: BTreeMap<Kind, Known>,
}

/// What stands before `/debug/pprof`: scheme and address of a target.
pub fn base_of(url: &str) -> String {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(after..).and_then(|rest| rest.find(['/', '?'])).map_or(url.len(), |at| after + at);
    url.get(..end).unwrap_or(url).to_owned()
}

/// The name of a target's service, which is its job unless it says its own.
pub fn service_of(target: &Labels) -> &str {
    let own = target.value(SERVICE);
    if own.is_empty() { target.value(JOB) } else { own }
}

/// A target's labels with the name of its service.
fn labels_of(target: &Labels, kind: Kind) -> Labels {
    target.with(METRIC_NAME, kind.metric()).with(SERVICE, service_of(target))
}

impl<S: ProfileSink> Puller<S> {
    fn new(
        pulling: Arc<Pulling<S>>,
        target: Target,
        fetcher: Fetcher,
        status: SharedStatus,
        pace: watch::Receiver<Pace>,
    ) -> Self {
        let base = base_of(&target.url);
        Self { pulling, target, base, fetcher, status, pace, known: BTreeMap::new() }
    }

    async fn run(mut self) {
        let mut ticks = interval_at(Instant::now() + self.target.first_wait(now_ms()), self.target.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut asked = false;
        loop {
            ticks.tick().await;
            let pace = *self.pace.borrow();
            asked = match pace {
                Pace::Every => true,
                Pace::EveryOther => !asked,
                Pace::Never => false,
            };
            if asked {
                self.once().await;
            }
        }
    }

    /// All kinds once: CPU beside the others.
    async fn once(&mut self) {
        let (began, began_ms) = (Instant::now(), now_ms());
        let measure = self.target.interval.saturating_sub(Duration::from_secs(1)).min(MEASURE_MAX);
        let kinds = self.pulling.job.kinds.clone();
        let due: Vec<Kind> = kinds.into_iter().filter(|kind| self.is_due(*kind)).collect();
        let one = |kind| {
            let (fetcher, base) = (&self.fetcher, &self.base);
            async move { (kind, ask(fetcher, base, kind, measure, now_ms().saturating_mul(1_000_000)).await) }
        };
        let (cpu, others): (Vec<Kind>, Vec<Kind>) = due.into_iter().partition(|kind| *kind == Kind::Cpu);
        let measured = async {
            match cpu.first() {
                Some(kind) => Some(one(*kind).await),
                None => None,
            }
        };
        let asked = async {
            let mut answers = Vec::new();
            for kind in others {
                answers.push(one(kind).await);
            }
            answers
        };
        let both = async { tokio::join!(measured, asked) };
        // What came before it was stopped is left out whole: growth counts from the last reading that was taken.
        let (measured, mut answers) = tokio::select! {
            both = both => both,
            () = until_never(self.pace.clone()) => return,
        };
        answers.extend(measured);
        let mut troubles = Vec::new();
        for (kind, answer) in answers {
            let state = match answer {
                Ok(asked) => self.take(kind, asked.profile, asked.maybe_disabled).await,
                Err(error) => Err(self.refused(kind, &error)),
            };
            if let Err(trouble) = state {
                troubles.push(format!("{}: {trouble}", kind.name()));
            }
        }
        let error = (!troubles.is_empty()).then(|| troubles.join("; "));
        let up = Some(error.is_none());
        self.status.set(Status { up, last_scrape_ms: began_ms, took: began.elapsed(), error });
    }

    fn is_due(&mut self, kind: Kind) -> bool {
        let known = self.known.entry(kind).or_default();
        let due = known.left_alone == 0;
        known.left_alone = known.left_alone.saturating_sub(1);
        due
    }

    /// Leaves a kind that was refused alone for longer each time, and says what is wrong once.
    fn refused(&mut self, kind: Kind, error: &PullError) -> String {
        let text = chain(error);
        if matches!(error, PullError::Busy | PullError::NotServed { .. }) {
            let known = self.known.entry(kind).or_default();
            known.refusals = known.refusals.saturating_add(1);
            known.left_alone = 1_u32.checked_shl(known.refusals - 1).unwrap_or(LEFT_ALONE_MAX).min(LEFT_ALONE_MAX);
        }
        self.tell(kind, &text);
        text
    }

    fn tell(&mut self, kind: Kind, text: &str) {
        let known = self.known.entry(kind).or_default();
        if known.told != text {
            tracing::info!(target = self.base, kind = kind.name(), "{text}");
            text.clone_into(&mut known.told);
        }
    }

    async fn take(&mut self, kind: Kind, profile: Profile, maybe_disabled: bool) -> Result<(), String> {
        let known = self.known.entry(kind).or_default();
        known.refusals = 0;
        if maybe_disabled {
            self.tell(kind, "not enabled by the program, or nothing has happened since it started");
        } else {
            // What goes wrong next is news.
            known.told.clear();
        }
        let known = self.known.entry(kind).or_default();
        let (growing, reading, before) = (kind.growing(), Arc::new(profile), known.before.clone());
        if !growing.is_empty() && before.is_none() {
            // The first reading counts from the program's start, which is long ago.
            known.before = Some(reading);
            return Ok(());
        }
        let (sink, labels) = (Arc::clone(&self.pulling.sink), labels_of(&self.target.labels, kind));
        let later = Arc::clone(&reading);
        // Differences and packing take as long as reading does.
        let taken = tokio::task::spawn_blocking(move || {
            let difference = before.map(|before| grown(&before, &later, growing));
            let profile = difference.as_ref().unwrap_or(&later);
            if profile.rows().len() == 0 { Ok(None) } else { sink.push(&labels, profile, now_ms()).map(Some) }
        });
        let taken = taken.await.map_err(|_panicked| "it could not be taken; this is our fault, please report it")??;
        if !growing.is_empty() {
            // Growth that was refused comes with the next reading.
            self.known.entry(kind).or_default().before = Some(reading);
        }
        match taken {
            Some(storing) => storing.await,
            None => Ok(()),
        }
    }
}

/// Waits until nothing is to be asked.
async fn until_never(mut pace: watch::Receiver<Pace>) {
    if pace.wait_for(|pace| *pace == Pace::Never).await.is_err() {
        // Nobody changes it any more.
        std::future::pending::<()>().await;
    }
}

/// What grew since the last reading; columns that do not only grow are those of the later one.
fn grown(before: &Profile, later: &Profile, growing: &[&str]) -> Profile {
    let mut base = before.clone();
    let stands: Vec<bool> = before.types().iter().map(|column| !growing.contains(&column.kind.as_str())).collect();
    for row in before.rows() {
        let undo: Vec<i64> = row
            .values
            .iter()
            .zip(&stands)
            .map(|(value, stands)| if *stands { value.saturating_neg() } else { 0 })
            .collect();
        base.add(row.stack, row.labels, &undo);
    }
    delta(&base, later, growing).profile
}

#[cfg(test)]
mod tests {
    use homeostat_model::profile::{LabelSet, Stack, ValueType};

    use super::*;

    #[test]
    fn what_stands_before_debug_is_scheme_and_address() {
        assert_eq!(base_of("http://a:1/metrics?x=y"), "http://a:1");
        assert_eq!((base_of("https://[::1]:2"), base_of("http://a?x")), ("https://[::1]:2".into(), "http://a".into()));
        let target = Labels::new([("job", "shop"), ("instance", "a:1")]);
        assert_eq!(labels_of(&target, Kind::Cpu).value(SERVICE), "shop");
        let own = labels_of(&target.with(SERVICE, "own"), Kind::Heap);
        assert_eq!(own.to_string(), r#"memory{instance="a:1", job="shop", service_name="own"}"#);
    }

    #[test]
    fn allocations_are_differences_and_memory_in_use_stands() {
        let types = || vec![ValueType::new("alloc_space", "bytes"), ValueType::new("inuse_space", "bytes")];
        let reading = |allocated, in_use| {
            let mut profile = Profile::new(types());
            profile.add(Stack::EMPTY, LabelSet::NONE, &[allocated, in_use]);
            profile
        };
        let growing = ["alloc_space"];
        let grown_by = |before: (i64, i64), later: (i64, i64)| {
            let profile = grown(&reading(before.0, before.1), &reading(later.0, later.1), &growing);
            (profile.total(0), profile.total(1))
        };
        assert_eq!(grown_by((100, 40), (150, 30)), (50, 30));
        // The program began anew.
        assert_eq!(grown_by((100, 40), (20, 10)), (20, 10));
    }
}
