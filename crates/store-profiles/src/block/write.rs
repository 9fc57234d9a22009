//! A shard as the bytes of one object.

use homeostat_wire::profiles::{
    Footer, PageEntry, Partition, Series, encode_header, encode_symbols, encode_trailer, put_part,
};

use crate::head::{self, Shard};

/// The whole object: symbols and pages service by service, then what lies where.
pub(crate) fn encode(log: u64, shard: &Shard) -> Vec<u8> {
    let mut out = encode_header().to_vec();
    let partitions = shard.partitions.iter().map(|(service, head)| {
        let symbols = put_part(&encode_symbols(&head.symbols), &mut out);
        let mut sorted: Vec<_> = head.series.iter().collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| (&a.labels, &a.types).cmp(&(&b.labels, &b.types)));
        let series = sorted.into_iter().map(|(subject, series)| {
            let pages = series.pages.iter().map(|page| put_page(page, &mut out)).collect();
            Series { subject: subject.clone(), pages }
        });
        let series = series.collect();
        Partition { service: service.clone(), symbols, series }
    });
    let partitions = partitions.collect();
    let footer = Footer { log, records: runs(&shard.records), partitions };
    let footer = put_part(&footer.encode(), &mut out);
    out.extend_from_slice(&encode_trailer(footer));
    out
}

fn put_page(page: &head::Page, out: &mut Vec<u8>) -> PageEntry {
    let part = put_part(&page.bytes, out);
    PageEntry { part, min_ns: page.min_ns, max_ns: page.max_ns, profiles: page.profiles }
}

/// Ascending numbers as runs of first and one behind the last.
fn runs(records: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for record in records {
        match runs.last_mut() {
            Some((_, end)) if *end == *record => *end += 1,
            _ => runs.push((*record, record + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_runs() {
        assert_eq!(runs(&[3, 4, 5, 9, 11, 12]), [(3, 6), (9, 10), (11, 13)]);
        assert!(runs(&[]).is_empty());
    }
}
