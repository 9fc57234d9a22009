//! A shard as the bytes of one object.

use homeostat_wire::profiles::{
    Footer, PageEntry, PartError, Partition, Series, encode_header, encode_symbols, encode_trailer, put_part,
};

use crate::head::{self, Shard};

/// The whole object: symbols and pages service by service, then what lies where. A shard that took no more than
/// [`Shard::fits`] allows is never too large.
pub(crate) fn encode(log: u64, shard: &Shard) -> Result<Vec<u8>, PartError> {
    let mut out = encode_header().to_vec();
    let mut partitions = Vec::with_capacity(shard.partitions.len());
    for (service, head) in &shard.partitions {
        let symbols = put_part(&encode_symbols(&head.symbols), &mut out)?;
        let mut sorted: Vec<_> = head.series.iter().collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| (&a.labels, &a.types).cmp(&(&b.labels, &b.types)));
        let mut series = Vec::with_capacity(sorted.len());
        for (subject, found) in sorted {
            let pages = found.pages.iter().map(|page| put_page(page, &mut out)).collect::<Result<_, _>>()?;
            series.push(Series { subject: subject.clone(), pages });
        }
        partitions.push(Partition { service: service.clone(), symbols, series });
    }
    let footer = Footer { log, records: runs(&shard.records), partitions };
    let footer = put_part(&footer.encode(), &mut out)?;
    out.extend_from_slice(&encode_trailer(footer));
    Ok(out)
}

fn put_page(page: &head::Page, out: &mut Vec<u8>) -> Result<PageEntry, PartError> {
    let part = put_part(&page.bytes, out)?;
    Ok(PageEntry { part, min_ns: page.min_ns, max_ns: page.max_ns, profiles: page.profiles })
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
