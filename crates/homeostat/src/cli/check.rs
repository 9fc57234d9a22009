//! `homeostat check`: everything that is wrong with a configuration, before it is used.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::json;

use crate::config::{self, CheckedConfig, Problems, prometheus::rules};

/// Reports every problem of a configuration with its place and what to write instead; exit code 2 if there is an error
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Configuration file, or folder of *.yaml files
    #[arg(short, long, value_name = "FILE_OR_DIR", default_value = "homeostat.yaml")]
    config: PathBuf,
    /// Take variables (`${NAME}`) that are not set here, and TLS files that do not exist here, to be where it will run
    #[arg(long)]
    allow_unset: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What else can be checked.
#[derive(Debug, clap::Subcommand)]
enum Other {
    Rules(RulesArgs),
}

/// Reports every problem of Prometheus' rule files with its place and what to write instead
#[derive(Debug, clap::Args)]
struct RulesArgs {
    /// Files of recording and alerting rules; the last part of a path may hold `*` and `?`
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn rules_checked(args: &RulesArgs) -> ExitCode {
    let files = rules::files(&args.files, Path::new(""));
    let read = |files: Vec<PathBuf>| Ok((files.len(), rules::load(&files, rules::RuleDefaults::default())?));
    let result = files.and_then(read);
    let problems = result.as_ref().map_or_else(|problems| problems, |(_, set)| &set.warnings);
    let counted = result.as_ref().map(|(files, set)| {
        let alerts = set.groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.alerting().is_some()).count();
        let all: usize = set.groups.iter().map(|group| group.rules.len()).sum();
        let plural = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        format!(
            "{}, {}, {}, {}",
            plural(*files, "file"),
            plural(set.groups.len(), "group"),
            plural(all - alerts, "recording rule"),
            plural(alerts, "alerting rule")
        )
    });
    if args.json {
        let mut value = problems.to_json();
        if let Some(object) = value.as_object_mut() {
            object.insert("ok".to_owned(), json!(counted.is_ok()));
            object.extend(counted.as_ref().ok().map(|summary| ("summary".to_owned(), json!(summary))));
        }
        println!("{value:#}");
    } else {
        eprint!("{problems}");
        match &counted {
            Ok(summary) => println!("ok: {summary}"),
            Err(_) => println!("{} error{}", problems.errors(), if problems.errors() == 1 { "" } else { "s" }),
        }
    }
    if counted.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    if let Some(Other::Rules(args)) = &args.other {
        return rules_checked(args);
    }
    let load = if args.allow_unset { config::load_for_elsewhere } else { config::load };
    let result = load(&args.config, &super::environment);
    if args.json {
        println!("{:#}", to_json(&result));
    } else {
        let problems = problems(&result);
        eprint!("{problems}");
        println!("{}", verdict(&result));
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

fn problems(result: &Result<CheckedConfig, Problems>) -> &Problems {
    match result {
        Ok(config) => &config.warnings,
        Err(problems) => problems,
    }
}

/// The last line: what was found, or how much is wrong.
fn verdict(result: &Result<CheckedConfig, Problems>) -> String {
    let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let problems = problems(result);
    match (result, problems.warnings()) {
        (Ok(config), 0) => format!("ok: {}{}", config.summary(), assumed(config)),
        (Ok(config), warnings) => {
            format!("ok, with {}: {}{}", count(warnings, "warning"), config.summary(), assumed(config))
        }
        (Err(_), 0) => count(problems.errors(), "error"),
        (Err(_), warnings) => format!("{}, {}", count(problems.errors(), "error"), count(warnings, "warning")),
    }
}

/// What the verdict rests on without having seen it.
fn assumed(config: &CheckedConfig) -> String {
    if config.assumed.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = config.assumed.iter().map(String::as_str).collect();
    format!("; not here, so not checked: {}", names.join(", "))
}

fn to_json(result: &Result<CheckedConfig, Problems>) -> serde_json::Value {
    let mut value = problems(result).to_json();
    if let Some(object) = value.as_object_mut() {
        object.insert("ok".to_owned(), json!(result.is_ok()));
        if let Ok(config) = result {
            object.insert("summary".to_owned(), json!(config.summary()));
            object.insert("files".to_owned(), json!(config.files));
            object.insert("assumed".to_owned(), json!(config.assumed));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts_what_is_wrong_or_found() {
        let load = |text: &str| config::load_str("x.yaml", text);
        let service = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: a}\nspec: {versions: {v1: http://127.0.0.1:1}}\n";
        let good = load(service);
        assert_eq!(verdict(&good), "ok: 1 listener, 1 service, 1 route, 0 objectives, 0 rollouts, 0 receivers");
        assert_eq!((&to_json(&good)["ok"], &to_json(&good)["errors"]), (&json!(true), &json!(0)));
        let bad = load("apiVersion: homeostat/v1\nkind: Guard\nspec: {a: 1, b: 2}\n");
        assert_eq!(verdict(&bad), "2 errors");
        assert_eq!(to_json(&bad)["problems"][0]["line"], 3);
        let odd = load(&format!("{service}---\napiVersion: openslo/v1\nkind: Service\nmetadata: {{name: b}}\n"));
        assert!(verdict(&odd).starts_with("ok, with 1 warning: "), "{}", verdict(&odd));
    }

    #[test]
    fn what_is_not_here_can_be_taken_to_be_there_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("homeostat.yaml");
        let text = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: a}\nspec: {versions: {v1: http://127.0.0.1:1}}\n\
            ---\napiVersion: homeostat/v1\nkind: Api\nspec: {tokens: [{name: a, role: read, token: '${TOKEN}'}]}\n\
            ---\napiVersion: homeostat/v1\nkind: Receiver\nmetadata: {name: a}\nspec: {webhook: {url: '${URL}', bearer: 'x-${BEARER}'}}\n\
            ---\napiVersion: homeostat/v1\nkind: Receiver\nmetadata: {name: b}\nspec: {dingtalk: {url: 'https://ding.example/${PATH_KEY}', secret: '${DING}'}}\n\
            ---\napiVersion: homeostat/v1\nkind: Gateway\nspec: {listeners: [{address: '127.0.0.1:1', tls: {certificate: no/a.pem, key: no/a.key}}]}\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(verdict(&config::load(&path, &|_| None)), "7 errors");
        let trusted = config::load_for_elsewhere(&path, &|_| None);
        let verdict = verdict(&trusted);
        assert!(
            verdict.ends_with(
                "; not here, so not checked: ${BEARER}, ${DING}, ${PATH_KEY}, ${TOKEN}, ${URL}, no/a.key, no/a.pem"
            ),
            "{verdict}"
        );
        assert_eq!(to_json(&trusted)["assumed"][3], "${TOKEN}");
    }
}
