//! Who waits for what: goroutines or threads, counted by the reason of their wait.
//!
//! Samples of CPU time never show a wait. A census looks at all goroutines (or threads) at some moments and counts them
//! by their stacks: the innermost frames say what each waits for, the innermost frame of the application says where.
//!
//! Source: the stacks that `runtime.gopark` is called with in Go 1.19 to 1.27; wait channels of Linux 6.x.

use std::collections::BTreeMap;

use homeostat_model::profile::{LabelSet, LabelValue, Profile};

use crate::frame::{Origin, place};

/// Reasons with the beginnings of the names that tell them; the first that fits the frame nearest to the wait counts.
const REASONS: &[(&str, &str)] = &[
    (
        "lock",
        "sync.(*Mutex) sync.(*RWMutex) sync.runtime_SemacquireMutex sync.runtime_SemacquireRWMutex internal/sync.(*Mutex) pthread_mutex lll_lock parking_lot futex_wait futex_do_wait __futex_wait rwsem_down __mutex_lock std::sys::sync::mutex std::sys::sync::rwlock",
    ),
    ("wait_group", "sync.(*WaitGroup) sync.runtime_SemacquireWaitGroup"),
    ("condition", "sync.(*Cond) sync.runtime_notifyListWait pthread_cond std::sys::sync::condvar"),
    (
        "sync",
        "os.(*File).Sync syscall.Fsync syscall.Fdatasync syscall.fsync syscall.fdatasync internal/poll.(*FD).Fsync fsync fdatasync jbd2_ do_fsync file_write_and_wait folio_wait_writeback ext4_sync_file wait_on_page_writeback rq_qos_wait blkdev_issue_flush xfs_log_force submit_bio_wait",
    ),
    ("sleep", "time.Sleep runtime.timeSleep hrtimer_nanosleep do_nanosleep nanosleep clock_nanosleep"),
    ("accept", "net.(*netFD).accept internal/poll.(*FD).Accept inet_csk_accept accept"),
    (
        "network",
        "internal/poll.runtime_pollWait internal/poll.(*FD).Read internal/poll.(*FD).Write sk_wait_data wait_for_connect sk_stream_wait tcp_recvmsg unix_stream_read",
    ),
    ("select", "runtime.selectgo"),
    ("send", "runtime.chansend"),
    ("receive", "runtime.chanrecv"),
    ("poll", "ep_poll epoll_wait do_epoll_wait do_sys_poll do_poll poll_schedule_timeout do_select"),
    ("pipe", "pipe_read pipe_write anon_pipe"),
    ("file", "folio_wait io_schedule filemap_ ext4_ xfs_ os.(*File).Write os.(*File).Read"),
    (
        "collector",
        "runtime.gcBgMarkWorker runtime.bgsweep runtime.bgscavenge runtime.forcegchelper runtime.runfinq runtime.runFinalizers runtime.runCleanups",
    ),
    ("system_call", "syscall. internal/runtime/syscall runtime/internal/syscall"),
    ("running", "0"),
];

/// What stands for every other wait.
const OTHER: &str = "other";

/// A census: counts of one moment, on average.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Census {
    /// Threads were counted, not goroutines.
    pub(crate) of_threads: bool,
    /// By reason.
    pub(crate) reasons: BTreeMap<String, f64>,
    /// By reason and the application's function that waits.
    pub(crate) places: BTreeMap<(String, String), f64>,
    /// By reason and the application's function that started them, where the census knows who did.
    pub(crate) started: BTreeMap<(String, String), f64>,
}

impl Census {
    /// Counts profiles of goroutines or threads that hold so many moments together (at least one); `None` without profiles.
    pub(crate) fn of<'a>(profiles: impl IntoIterator<Item = &'a Profile>, moments: f64) -> Option<Self> {
        let snapshots = moments.max(1.0);
        profiles.into_iter().fold(None, |census: Option<Self>, profile| {
            let mut census = census.unwrap_or_default();
            census.add(profile, snapshots);
            Some(census)
        })
    }

    fn add(&mut self, profile: &Profile, snapshots: f64) {
        let column = profile.samples_column();
        self.of_threads |= profile.column("threads") == Some(column);
        for row in profile.rows() {
            let count = row.values.get(column).copied().unwrap_or(0).max(0) as f64 / snapshots;
            let (mut reason, mut function) = (None, None);
            for frame in profile.stacks().walk(row.stack) {
                let name = profile.text(frame.function);
                let place = place(name, profile.text(frame.module), false);
                reason = reason.or_else(|| why(if place.origin == Origin::Application { name } else { &place.name }));
                if function.is_none() && place.origin == Origin::Application {
                    function = Some(profile.frame_name(frame));
                }
            }
            let reason = reason.unwrap_or(OTHER).to_owned();
            *self.reasons.entry(reason.clone()).or_default() += count;
            *self.places.entry((reason.clone(), function.unwrap_or_default())).or_default() += count;
            if let Some(creator) = creator(profile, row.labels) {
                *self.started.entry((reason, creator.to_owned())).or_default() += count;
            }
        }
    }

    /// How many wait for this reason.
    pub(crate) fn waiting(&self, reason: &str) -> f64 {
        self.reasons.get(reason).copied().unwrap_or(0.0)
    }

    /// All of them.
    pub(crate) fn total(&self) -> f64 {
        self.reasons.values().sum()
    }
}

/// Who started a goroutine, as a census of a process' memory labels it: a function of the application.
fn creator(profile: &Profile, labels: LabelSet) -> Option<&str> {
    let label = profile.labels(labels).iter().find(|(name, _)| profile.text(*name) == "creator");
    let Some((_, LabelValue::Text(creator))) = label else { return None };
    let creator = profile.text(*creator);
    (place(creator, "", false).origin == Origin::Application).then_some(creator)
}

/// The reason that a frame tells.
fn why(name: &str) -> Option<&'static str> {
    let tells = |names: &&str| {
        names.split_ascii_whitespace().any(|begin| if begin == "0" { name == "0" } else { name.starts_with(begin) })
    };
    REASONS.iter().find(|(_, names)| tells(names)).map(|(reason, _)| *reason)
}

#[cfg(test)]
mod tests {
    use homeostat_model::profile::ValueType;

    use super::*;
    use crate::testing::profile;

    #[test]
    fn the_innermost_frame_that_tells_counts() {
        let census = Census::of(
            [&profile(
                "net/http.(*conn).serve;main.get;sync.(*Mutex).Lock;sync.(*Mutex).lockSlow;sync.runtime_SemacquireMutex;runtime.gopark 8
                 main.wait;sync.(*WaitGroup).Wait;runtime.gopark 2
                 net/http.(*conn).serve;net/http.(*connReader).Read;internal/poll.(*FD).Read;internal/poll.runtime_pollWait;runtime.gopark 6
                 main.loop;runtime.selectgo;runtime.gopark 2
                 do_it;futex_wait_queue 4
                 what_is_this 2",
            )],
            2.0,
        )
        .unwrap();
        assert_eq!(Census::of([], 1.0), None);
        let found: Vec<_> = census.reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        assert_eq!(found, [("lock", 6.0), ("network", 3.0), ("other", 1.0), ("select", 1.0), ("wait_group", 1.0)]);
        assert!((census.places[&("lock".to_owned(), "main.get".to_owned())] - 4.0).abs() < 1e-12);
        assert!((census.total() - 12.0).abs() < 1e-12);
    }

    #[test]
    fn who_started_them_is_known_where_labels_say_it() {
        let mut profile = profile("main.leak.func1;runtime.chanrecv1;runtime.gopark 7");
        let stack = profile.rows().next().unwrap().stack;
        let name = profile.intern("creator");
        for (creator, count) in [("main.leak", 5), ("net/http.(*Server).Serve", 3)] {
            let creator = LabelValue::Text(profile.intern(creator));
            let labels = profile.intern_labels(vec![(name, creator)]);
            profile.add(stack, labels, &[count]);
        }
        let census = Census::of([&profile], 1.0).unwrap();
        let started: Vec<_> = census.started.iter().collect();
        assert_eq!(started, [(&("receive".to_owned(), "main.leak".to_owned()), &5.0)], "the library's are no leak");
        assert!((census.waiting("receive") - 15.0).abs() < 1e-12);
    }

    #[test]
    fn threads_are_told_apart_from_goroutines() {
        let threads = profile("nobody 1").with_types(vec![ValueType::new("threads", "count")]);
        assert!(Census::of([&threads], 1.0).unwrap().of_threads);
        assert!(!Census::of([&profile("main.wait 1")], 1.0).unwrap().of_threads);
    }
}
