//! The reference page `docs/config.md`, from the table that also drives the reader.

use std::fmt::Write;

use super::{
    document::{Many, OPENSLO, OURS, kinds},
    shape::{Need, Record, Shape},
};

const HEAD: &str = "\
# Configuration

Written by `homeostat schema --markdown` from the table that also drives the reader; do not edit.

`homeostat up -c PATH` reads a file, or all `*.yaml` and `*.yml` files directly in a directory. A file holds any number
of documents, divided by lines of `---`. Each has the keys `apiVersion`, `kind`, `metadata` (with `name`) and `spec`;
below, the keys of `spec` are listed by kind. `homeostat check -c PATH` reports every mistake with its place and what to
write instead; `homeostat schema` prints a JSON Schema for editors; `homeostat init` writes a commented example.

- Durations have units: `200ms`, `1m30s`, `24h`, `30d` (`ns`, `us`, `ms`, `s`, `m`, `h`, `d`, `w`).
- Shares of traffic are percentages in steps of 0.01 %: `5%`. Sizes: `64KiB`, `1GiB`.
- Names have up to 63 letters, digits, `-`, `_` and `.`, and begin and end with a letter or digit.
- `${NAME}` stands for an environment variable, in secrets only: `url`, `bearer` and `secret` of receivers, `token` of
  the API. An unset variable is an error; `homeostat check --allow-unset` accepts it where the secrets are not.
- Unknown and repeated keys are errors. A bad configuration never replaces a good one.
";

/// Returns the reference of all kinds in Markdown.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for (api, title, about) in [
        (OURS, "Documents of Homeostat", "These begin with `apiVersion: homeostat/v1`."),
        (
            OPENSLO,
            "OpenSLO documents",
            "Objectives are plain OpenSLO documents (`apiVersion: openslo/v1`). What the specification allows and the \
             gateway cannot measure is refused with a reason. How they are read: `docs/slo.md`.",
        ),
    ] {
        let _ = write!(page, "\n## {title}\n\n{about}\n");
        for kind in kinds().iter().filter(|kind| kind.api == api) {
            let many = if kind.many == Many::Single { " (at most one; `metadata` may be left out)" } else { "" };
            let _ = write!(page, "\n### {}{many}\n", kind.kind);
            let mut later = Vec::new();
            record(&kind.spec, &mut page, &mut later);
            // Nested records follow the one that names them, each with its path.
            let mut queue: Vec<(String, Record)> = later;
            let mut at = 0;
            while let Some((path, nested)) = queue.get(at).cloned() {
                let _ = write!(page, "\n#### {}: `{path}`\n", kind.kind);
                let mut deeper = Vec::new();
                record(&nested, &mut page, &mut deeper);
                queue.extend(deeper.into_iter().map(|(key, record)| (format!("{path}.{key}"), record)));
                at += 1;
            }
        }
    }
    page.push_str("\n### Annotations and names\n\nAll documents, in `metadata`:\n");
    let mut later = Vec::new();
    record(&super::raw::openslo::Metadata::record(), &mut page, &mut later);
    page
}

/// One table; records within it are left for later, under their keys.
fn record(record: &Record, page: &mut String, later: &mut Vec<(String, Record)>) {
    let _ = write!(page, "\n{}\n\n| key | value | default | meaning |\n|---|---|---|---|\n", line(record.about));
    for field in &record.fields {
        let default = match field.need {
            Need::Required => "required".to_owned(),
            Need::Optional => String::new(),
            Need::Default(yaml) => format!("`{yaml}`"),
        };
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {} |",
            field.key,
            value(&field.shape, field.key, later).replace('|', "\\|"),
            line(field.about).replace('|', "\\|")
        );
    }
}

/// A value in a few words; words are listed, records are put aside.
fn value(shape: &Shape, path: &str, later: &mut Vec<(String, Record)>) -> String {
    match shape {
        Shape::Scalar(scalar) => scalar.noun.to_owned(),
        Shape::Words(words) => {
            words.iter().map(|(word, meaning)| format!("`{word}`: {meaning}")).collect::<Vec<_>>().join("<br>")
        }
        Shape::List(item) => format!("list of: {}", value(item, &format!("{path}[]"), later)),
        Shape::OneOrMany(item) => format!("{}, or a list", value(item, path, later)),
        Shape::Entries { key, value: each } => {
            format!("{key}, each with: {}", value(each, &format!("{path}.*"), later))
        }
        Shape::Record(record) => {
            later.push((path.to_owned(), record.clone()));
            format!("see `{path}` below")
        }
        Shape::Either(shapes) => shapes.iter().map(|s| value(s, path, later)).collect::<Vec<_>>().join(", or "),
        Shape::Any => "anything".to_owned(),
    }
}

fn line(about: &str) -> String {
    about.split_whitespace().collect::<Vec<_>>().join(" ")
}
