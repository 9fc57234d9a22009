//! A month of a few series: what a query over all of it at one-hour steps costs, from the head and from blocks.

use homeostat_store_series::{Batch, SeriesStore, StoreOptions};

use crate::{Failure, PATIENCE, dashboards};

const SERIES: usize = 200;
const DAYS: i64 = 30;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// Fills a store with a sample a minute, and asks.
pub(crate) fn all() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let options = StoreOptions { retention: None, ..StoreOptions::default() };
    let (store, _) = SeriesStore::open(folder.path(), options)?;
    let mut batch = Batch::default();
    let end_ms = DAYS * DAY_MS;
    for begin in (0..end_ms).step_by(10 * MINUTE_MS as usize) {
        batch.clear();
        for at in 0..SERIES {
            let (site, sensor) = (format!("site-{}", at % 10), format!("sensor-{at}"));
            let entry = batch.series([("__name__", "power_watts"), ("sensor", &*sensor), ("site", &*site)])?;
            for t_ms in (0..10).map(|minute| begin + minute * MINUTE_MS) {
                let day = (t_ms % DAY_MS) as f64 / DAY_MS as f64 * std::f64::consts::TAU;
                let wobble = (t_ms / MINUTE_MS * 31 + at as i64 * 17) % 23;
                let watts = 500.0 + 300.0 * (day + at as f64).sin() + wobble as f64;
                entry.float(t_ms, (watts * 10.0).round() / 10.0);
            }
        }
        loop {
            // Faster than any disk: what is refused comes again.
            match store.append(&mut batch) {
                Ok(report) => {
                    report.ticket.wait(PATIENCE)?;
                    break;
                }
                Err(_) => std::thread::yield_now(),
            }
        }
    }
    let stats = store.stats();
    println!("history: {} samples in memory, {} in {} blocks", stats.head_samples, stats.block_samples, stats.blocks);
    let ask = |place| {
        dashboards::timed(place, "range_30d_step_1h", || {
            dashboards::ranged(&store, "avg by (site) (power_watts)", (0, end_ms, 60 * MINUTE_MS))
        })
    };
    ask("as it came")?;
    store.flush()?;
    store.compact_fully()?;
    ask("one block")
}
