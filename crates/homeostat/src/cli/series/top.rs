//! `homeostat series top`: what the series of a running server are made of.

use std::{fmt::Write as _, process::ExitCode};

use crate::{
    cli::{
        client::{Client, ClientError, Connection},
        render::print,
        status::{done, print_json},
    },
    runtime::server::{Counted, ENTRIES_DEFAULT, SeriesTop},
};

/// Shows which metrics of a running `homeostat server` have most series, which grow fastest, and which labels have most
/// values
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address of the running server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    server: String,
    /// Lines of each list, up to 1000
    #[arg(long, value_name = "COUNT", default_value_t = ENTRIES_DEFAULT)]
    limit: usize,
    /// As JSON: what the API serves at /homeostat/v1/series/top
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    done(top(args))
}

fn top(args: &Args) -> Result<(), ClientError> {
    let client = Client::new(&Connection::to(&args.server))?;
    let answer: Result<SeriesTop, ClientError> = client.get(&format!("/series/top?limit={}", args.limit));
    let top = answer.map_err(|error| match error {
        ClientError::NotRunning(address) => ClientError::Local(format!(
            "nothing answers at {address}; start it with `homeostat server`, or name its address with `--server URL`"
        )),
        error => error,
    })?;
    if args.json {
        return print_json(&top);
    }
    print(&shown(&top));
    Ok(())
}

fn shown(top: &SeriesTop) -> String {
    let mut out = format!("{} series in memory\n", top.series);
    list(&mut out, "metrics with most series", &top.metrics);
    list(&mut out, "metrics with most new series since the newest block", &top.growth);
    list(&mut out, "labels with most values", &top.labels);
    out
}

fn list(out: &mut String, title: &str, entries: &[Counted]) {
    if entries.is_empty() {
        return;
    }
    let width = entries.iter().map(|entry| entry.count.to_string().len()).max().unwrap_or(0);
    // A text takes everything.
    writeln!(out, "\n{title}").unwrap_or_default();
    for Counted { name, count } in entries {
        writeln!(out, "  {count:>width$}  {}", name.escape_debug()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_each_other() {
        let counted = |name: &str, count| Counted { name: name.to_owned(), count };
        let top = SeriesTop {
            series: 1005,
            metrics: vec![counted("a", 1000), counted("b\n", 5)],
            growth: Vec::new(),
            labels: vec![counted("user", 7)],
        };
        assert_eq!(
            shown(&top),
            "1005 series in memory\n\nmetrics with most series\n  1000  a\n     5  b\\n\n\nlabels with most values\n  7  user\n"
        );
    }
}
