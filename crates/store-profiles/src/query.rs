//! Questions: which series, what time, and what is done with each profile.
//!
//! A walk visits heads first and objects after, one service at a time, so that memory holds the symbols of one. All its
//! methods read disks and buckets on the calling thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use homeostat_model::{
    Labels,
    profile::{Profile, ValueType},
};
use homeostat_promql::Matcher;
use homeostat_wire::profiles::{
    Entries, Entry, Malformed, PageEntry, Partition, Rows, Series, Subject, decode_symbols,
};

use crate::{
    block::Block,
    error::{Damage, QueryError},
    head,
    limits::{POINTS_MAX, SERIES_SHOWN_MAX, SHARD_MS},
    store::ProfileStore,
    sum::{Summing, Totals},
};

/// Which numbers of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// One: what it counts. Series that do not have it are not meant.
    One(ValueType),
    /// Those of the first series that is found.
    All,
}

/// Which profiles.
#[derive(Clone, Debug)]
pub struct Query {
    /// Conditions on labels, all of which must hold.
    pub matchers: Vec<Matcher>,
    /// Profiles that begin at this time or later, ms since 1970.
    pub from_ms: i64,
    /// Profiles that begin before this time.
    pub to_ms: i64,
    /// Which numbers.
    pub columns: Columns,
    /// What happens once per sample, in the series that are meant; whatever it is when `None`.
    pub period_type: Option<ValueType>,
    /// Set by whoever does not wait for the answer any more.
    pub given_up: Arc<AtomicBool>,
}

impl Query {
    /// All columns of all series in a range of time.
    pub fn all(from_ms: i64, to_ms: i64) -> Self {
        Self {
            matchers: Vec::new(),
            from_ms,
            to_ms,
            columns: Columns::All,
            period_type: None,
            given_up: Arc::default(),
        }
    }

    fn wants(&self, subject: &Subject) -> bool {
        let counted = match &self.columns {
            Columns::One(wanted) => subject.types.contains(wanted),
            Columns::All => true,
        };
        let period = self.period_type.as_ref().is_none_or(|wanted| *wanted == subject.period_type);
        counted && period && self.matchers.iter().all(|matcher| matcher.matches(subject.labels.value(&matcher.name)))
    }

    fn meets(&self, min_ns: i64, max_ns: i64) -> bool {
        self.from_ms.saturating_mul(1_000_000) <= max_ns && min_ns < self.to_ms.saturating_mul(1_000_000)
    }

    fn has(&self, started_ns: i64) -> bool {
        self.meets(started_ns, started_ns)
    }

    fn meets_shard(&self, start_ms: i64) -> bool {
        self.from_ms < start_ms.saturating_add(SHARD_MS) && start_ms < self.to_ms
    }

    fn go_on(&self) -> Result<(), QueryError> {
        if self.given_up.load(Ordering::Relaxed) { Err(QueryError::GivenUp) } else { Ok(()) }
    }
}

/// A sum of profiles.
#[derive(Debug)]
pub struct Merged {
    /// The sum, without labels; `None` when nothing was found.
    pub profile: Option<Profile>,
    /// How many profiles it is the sum of.
    pub profiles: u64,
    /// What could not be part of it.
    pub damage: Vec<Damage>,
}

/// Totals of the profiles of one group of series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The labels by which it was made.
    pub labels: Labels,
    /// Begin of the step in ms since 1970, and the sum of what began in it; ascending.
    pub points: Vec<(i64, i64)>,
}

/// What a walk does with what it finds.
pub(crate) trait Visit {
    /// Symbols are needed at the end of a service.
    const SYMBOLS: bool;

    /// A profile of a series that is wanted. An error says what is wrong with it.
    fn profile(&mut self, subject: &Subject, entry: &Entry<'_>, rows: &Rows) -> Result<(), &'static str>;

    /// All profiles of a service in one shard or object were visited.
    fn service(&mut self, symbols: Option<&Profile>) -> Result<(), QueryError>;
}

impl ProfileStore {
    /// Adds profiles up. Labels of samples are left out.
    pub fn merge(&self, query: &Query) -> Result<Merged, QueryError> {
        let mut summing = Summing::new(query.columns.clone());
        let damage = self.walk(query, &mut summing)?;
        let (profile, profiles) = summing.finish();
        Ok(Merged { profile, profiles, damage })
    }

    /// Totals over time: for each combination of these labels, the sum of one column in steps of `step_ms`.
    pub fn totals(&self, query: &Query, by: &[String], step_ms: i64) -> Result<(Vec<Group>, Vec<Damage>), QueryError> {
        let step_ms = step_ms.max(1);
        if POINTS_MAX as i64 <= query.to_ms.saturating_sub(query.from_ms) / step_ms {
            return Err(QueryError::TooMuch { what: "points", limit: POINTS_MAX });
        }
        let mut totals = Totals::new(query.columns.clone(), by, query.from_ms, step_ms);
        let damage = self.walk(query, &mut totals)?;
        Ok((totals.finish(), damage))
    }

    /// What the profiles of all series have in common, sorted by labels.
    pub fn series(&self, query: &Query) -> Result<(Vec<Subject>, Vec<Damage>), QueryError> {
        let (mut found, mut damage) = (BTreeMap::new(), BTreeSet::new());
        let mut take = |subject: &Subject| {
            if query.wants(subject) {
                let key = (subject.labels.clone(), subject.types.clone(), subject.period_type.clone());
                found.entry(key).or_insert_with(|| subject.clone());
            }
            let limit = SERIES_SHOWN_MAX;
            if found.len() <= limit { Ok(()) } else { Err(QueryError::TooMuch { what: "series", limit }) }
        };
        let (heads, blocks) = self.concerned(query);
        for (subject, series) in heads.iter().flat_map(|partition| &partition.series) {
            if series.pages.iter().any(|page| query.meets(page.min_ns, page.max_ns)) {
                take(subject)?;
            }
        }
        drop(heads);
        for block in blocks {
            query.go_on()?;
            match self.blocks().footer(block)? {
                None => {}
                Some(Err(found)) => drop(damage.insert(found)),
                Some(Ok(footer)) => {
                    for series in footer.partitions.iter().flat_map(|partition| &partition.series) {
                        if series.pages.iter().any(|page| query.meets(page.min_ns, page.max_ns)) {
                            take(&series.subject)?;
                        }
                    }
                }
            }
        }
        Ok((found.into_values().collect(), self.told(damage)))
    }

    /// Services in memory and objects of the time that is asked for, at one instant: each profile is in one of them.
    fn concerned(&self, query: &Query) -> (Vec<Arc<head::Partition>>, Vec<Block>) {
        let state = self.read();
        let shards = state.shards().filter(|shard| query.meets_shard(shard.start_ms));
        let heads = shards.flat_map(|shard| shard.partitions.values().cloned()).collect();
        (heads, state.blocks_in(|start_ms| query.meets_shard(start_ms)))
    }

    fn walk<V: Visit>(&self, query: &Query, visit: &mut V) -> Result<Vec<Damage>, QueryError> {
        let (heads, blocks) = self.concerned(query);
        // One by one, so that a service which was walked over need not be copied for what comes meanwhile.
        for partition in heads {
            walk_head(query, &partition, visit)?;
        }
        let mut damage = BTreeSet::new();
        for block in blocks {
            query.go_on()?;
            match self.blocks().footer(block)? {
                None => {}
                Some(Err(found)) => drop(damage.insert(found)),
                Some(Ok(footer)) => {
                    for partition in &footer.partitions {
                        self.walk_partition(query, block, partition, visit, &mut damage)?;
                    }
                }
            }
        }
        Ok(self.told(damage))
    }

    fn walk_partition<V: Visit>(
        &self,
        query: &Query,
        block: Block,
        partition: &Partition,
        visit: &mut V,
        damage: &mut BTreeSet<Damage>,
    ) -> Result<(), QueryError> {
        let wanted: Vec<(&Series, &PageEntry)> = partition
            .series
            .iter()
            .filter(|series| query.wants(&series.subject))
            .flat_map(|series| series.pages.iter().map(move |page| (series, page)))
            .filter(|(_, page)| query.meets(page.min_ns, page.max_ns))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        // Symbols first: without them the pages mean nothing.
        let symbols = if V::SYMBOLS {
            let Some(read) = self.blocks().part(block, partition.symbols)? else { return Ok(()) };
            let tell = |error: Malformed| self.blocks().damage(block.name, partition.symbols.offset, error);
            match read.and_then(|content| decode_symbols(&content).map_err(tell)) {
                Ok(symbols) => Some(symbols),
                Err(found) => {
                    damage.insert(found);
                    return Ok(());
                }
            }
        } else {
            None
        };
        for (series, page) in wanted {
            query.go_on()?;
            let content = match self.blocks().part(block, page.part)? {
                // It is gone; what was visited of it still needs its symbols.
                None => break,
                Some(Ok(content)) => content,
                Some(Err(found)) => {
                    damage.insert(found);
                    continue;
                }
            };
            if let Err(what) = walk_page(query, &series.subject, &content, symbols.as_ref(), visit) {
                damage.insert(self.blocks().damage(block.name, page.part.offset, what));
            }
        }
        visit.service(symbols.as_ref())
    }

    /// Logs and counts what was found for the first time.
    fn told(&self, damage: BTreeSet<Damage>) -> Vec<Damage> {
        for found in &damage {
            self.tell(found);
        }
        damage.into_iter().collect()
    }
}

fn walk_head<V: Visit>(query: &Query, partition: &head::Partition, visit: &mut V) -> Result<(), QueryError> {
    let mut found = false;
    for (subject, series) in partition.series.iter().filter(|(subject, _)| query.wants(subject)) {
        for page in series.pages.iter().filter(|page| query.meets(page.min_ns, page.max_ns)) {
            query.go_on()?;
            found = true;
            if let Err(what) = walk_page(query, subject, &page.bytes, Some(&partition.symbols), visit) {
                tracing::error!(what, labels = %subject.labels, "profiles in memory are not readable; this is our fault, please report it");
            }
        }
    }
    if found { visit.service(Some(&partition.symbols)) } else { Ok(()) }
}

fn walk_page<V: Visit>(
    query: &Query,
    subject: &Subject,
    page: &[u8],
    symbols: Option<&Profile>,
    visit: &mut V,
) -> Result<(), String> {
    let mut rows = Rows::default();
    for entry in Entries::new(page) {
        let entry = entry.map_err(|error| error.to_string())?;
        if !query.has(entry.started_ns) {
            continue;
        }
        entry.rows(subject.types.len(), &mut rows).map_err(|error| error.to_string())?;
        // Rows are sorted by stack: the last one is the highest.
        let stacks = symbols.map_or(usize::MAX, |symbols| symbols.stacks().len());
        if rows.stacks.last().is_some_and(|last| stacks <= *last as usize) {
            return Err("a profile points to a stack that is not there".to_owned());
        }
        visit.profile(subject, &entry, &rows)?;
    }
    Ok(())
}
