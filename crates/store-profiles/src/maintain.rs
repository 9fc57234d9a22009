//! Shards become objects, objects become too old.
//!
//! A shard is written when its time and [`GRACE_MS`] are over, or early when memory is full. First its records are durable
//! in the log, then the object is there at once, then it takes the shard's place in what queries see, then the log forgets.
//! Whatever moment the process ends at, each profile is in the log, in the object, or in both with the object saying so.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use futures_util::TryStreamExt as _;
use homeostat_model::error_chain::chain;
use object_store::{ObjectStoreExt as _, PutPayload};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    block::{Blocks, encode},
    error::OpenError,
    head::Shard,
    limits::{GRACE_MS, LIST_EVERY_MS, LOG_WAIT, MAINTAIN_EVERY, SHARD_MS},
    names::{BlockName, SHARDS},
    senders::Snapshot,
    store::{ProfileStore, millis},
};

impl Blocks {
    /// All objects with their lengths.
    pub(crate) fn list(&self) -> Result<BTreeMap<BlockName, u64>, OpenError> {
        let folder = self.place.path(SHARDS);
        let found = self.place.store().list(Some(&folder)).try_filter_map(|meta| {
            let mut parts = meta.location.as_ref().rsplit('/');
            let file = parts.next().unwrap_or_default();
            let name = BlockName::parse(parts.next().unwrap_or_default(), file);
            std::future::ready(Ok(name.map(|name| (name, meta.size))))
        });
        let found = self.wait(found.try_collect());
        found.map_err(|source| OpenError::List { place: self.place.to_string(), source: Box::new(source) })
    }
}

impl ProfileStore {
    /// Looks after the store until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(MAINTAIN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let store = self.clone();
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // An object that is half sent is not given up on a stop: it would be sent again. The next one is not begun.
            let stopping = stop.clone();
            let done = tokio::task::spawn_blocking(move || store.maintain_until(millis(since), &stopping)).await;
            if done.is_err() {
                tracing::error!("looking after profiles has failed; this is our fault, please report it");
            }
        }
    }

    /// Writes the shards that are over or too large for memory, removes what is too old, and lets the log forget. Reads and
    /// writes on the calling thread. What fails is logged and tried again the next time.
    pub fn maintain(&self, now_ms: i64) {
        self.maintain_until(now_ms, &CancellationToken::new());
    }

    fn maintain_until(&self, now_ms: i64, stop: &CancellationToken) {
        let _only_one = self.maintaining();
        self.begin_rolling(|shard| (shard.start_ms + SHARD_MS).max(shard.opened_ms) + GRACE_MS <= now_ms);
        // What is on its way into objects already is not helped by sending more of them.
        if self.options().head_bytes_max < self.read().open.values().map(Shard::bytes).sum() {
            let largest = self.read().open.values().max_by_key(|shard| shard.bytes()).map(|shard| shard.start_ms);
            self.begin_rolling(|shard| Some(shard.start_ms) == largest);
        }
        self.finish_rolling(stop);
        self.expire(now_ms, stop);
        if !stop.is_cancelled() {
            self.list_again(now_ms);
        }
    }

    /// Writes all shards, whether they are over or not.
    pub fn flush(&self) {
        let _only_one = self.maintaining();
        self.begin_rolling(|_| true);
        self.finish_rolling(&CancellationToken::new());
    }

    /// From now on these shards take no profiles; the next one begins another.
    fn begin_rolling(&self, wanted: impl Fn(&Shard) -> bool) {
        let mut state = self.write();
        let taken: Vec<_> = state.open.extract_if(.., |_, shard| wanted(shard)).collect();
        // A shard whose only profile was refused holds nothing.
        let taken = taken.into_iter().map(|(_, shard)| shard).filter(|shard| !shard.records.is_empty());
        state.rolling.extend(taken.map(Arc::new));
    }

    fn finish_rolling(&self, stop: &CancellationToken) {
        let rolling = self.read().rolling.clone();
        for shard in rolling.into_iter().take_while(|_| !stop.is_cancelled()) {
            if let Err(problem) = self.roll(&shard) {
                tracing::warn!(problem, start_ms = shard.start_ms, "profiles of two hours stay in memory for now");
            }
        }
        // Records of shards that are in memory stay.
        let state = self.read();
        let needed = state.shards().filter_map(|shard| shard.records.first().copied()).min();
        let until = needed.unwrap_or_else(|| self.wal().next_seq());
        // New profiles get higher numbers, so the lock need not be held.
        drop(state);
        if self.wal().segment_starts().get(1).is_none_or(|second| until < *second) {
            return;
        }
        let senders = self.read().senders.snapshot();
        let kept = self
            .keep_senders(&senders)
            .and_then(|()| self.wal().truncate_before(until).map(drop).map_err(|error| chain(&error)));
        if let Err(problem) = kept {
            tracing::warn!(problem, "the log of profiles keeps what it does not need");
        }
    }

    /// Writes how far senders have come, which their records in the log say until they are forgotten. What is not durable
    /// may be lost, and must be taken when it is sent again.
    fn keep_senders(&self, senders: &Snapshot) -> Result<(), String> {
        if let Some(newest) = &senders.newest {
            let _durable = newest.wait(LOG_WAIT).map_err(|error| chain(&error))?;
        }
        senders.write(self.dir()).map_err(|error| chain(&error))
    }

    fn roll(&self, shard: &Arc<Shard>) -> Result<(), String> {
        let Some(name) = shard.name(self.log()) else { return Ok(()) };
        // A number that is not durable may be given again after a crash.
        if let Some(ticket) = &shard.ticket {
            let _durable = ticket.wait(LOG_WAIT).map_err(|error| chain(&error))?;
        }
        let bytes = encode(self.log(), shard).map_err(|error| chain(&error))?;
        let len = bytes.len() as u64;
        let path = self.blocks().object(name);
        let put = self.blocks().place.store().put(&path, PutPayload::from(bytes));
        self.blocks().wait(put).map_err(|error| chain(&error))?;
        let mut state = self.write();
        state.rolling.retain(|other| !Arc::ptr_eq(other, shard));
        state.blocks.insert(name, len);
        drop(state);
        self.count_rolled();
        Ok(())
    }

    /// Removes whole shards of which everything is older than what is kept.
    fn expire(&self, now_ms: i64, stop: &CancellationToken) {
        let Some(retention) = self.options().retention else { return };
        let oldest_ms = now_ms.saturating_sub(millis(retention));
        let old: Vec<BlockName> =
            self.read().blocks.keys().filter(|name| name.end_ms() <= oldest_ms).copied().collect();
        for name in old.into_iter().take_while(|_| !stop.is_cancelled()) {
            let path = self.blocks().object(name);
            match self.blocks().wait(self.blocks().place.store().delete(&path)) {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                    self.write().blocks.remove(&name);
                    self.blocks().forget(name);
                    self.count_expired();
                }
                Err(error) => tracing::warn!(error = chain(&error), object = %path, "profiles that are too old stay"),
            }
        }
    }

    /// Others may write into the same place.
    fn list_again(&self, now_ms: i64) {
        if now_ms.saturating_sub(self.read().listed_ms) < LIST_EVERY_MS {
            return;
        }
        match self.blocks().list() {
            Ok(mut found) => {
                let mut state = self.write();
                // Written, though we were not told: as long as they are in memory they are answered from there.
                for name in state.rolling.iter().filter_map(|shard| shard.name(self.log())) {
                    found.remove(&name);
                }
                (state.blocks, state.listed_ms) = (found, now_ms);
            }
            Err(error) => tracing::warn!(error = chain(&error), "profiles that others wrote may be missing"),
        }
    }
}
