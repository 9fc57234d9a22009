//! Configurations, bad and good, against what is said about them.
//!
//! `config/bad/*.yaml` come with `*.txt`: all problems as a terminal shows them. `config/good/*.yaml` come with `*.txt`:
//! what the rooms get. A new case is a new file; `UPDATE_EXPECT=1` writes the expectations, which are then read by eye.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use homeostat::config::{self, CheckedConfig, Problems, Taken};
use homeostat_model::{CellId, CellKey, RouteName, ServiceName, Span, VersionName};
use homeostat_sense_kernel::SampleRate;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

fn env(name: &str) -> Option<String> {
    match name {
        "SET" | "API_TOKEN" | "DING_TOKEN" | "DING_SECRET" | "HOMEOSTAT_ADMIN_TOKEN" => {
            Some(format!("geheim-0123456789-{name}"))
        }
        "SHOP_WEBHOOK_URL" => Some("http://127.0.0.1:9999/hook".to_owned()),
        _ => None,
    }
}

/// Loads a file under its bare name, so that expectations do not depend on where the tree lies.
fn load(path: &Path) -> Result<CheckedConfig, Problems> {
    let name = path.file_name().unwrap().to_str().unwrap();
    config::load_str_with(name, &std::fs::read_to_string(path).unwrap(), &env)
}

#[test]
fn every_mistake_is_reported_with_its_place_and_what_to_write() {
    let mut problems_seen = 0;
    for path in yaml_files(&folder("tests/config/bad")) {
        let problems = load(&path).expect_err(&path.display().to_string());
        problems_seen += problems.iter().count();
        let shown = problems.to_string();
        assert!(!shown.contains("geheim"), "{} shows a secret:\n{shown}", path.display());
        assert!(!problems.to_json().to_string().contains("geheim"), "{}", path.display());
        for problem in &problems {
            assert!(problem.spot.is_some() || path.ends_with("empty.yaml"), "without place: {problem}");
        }
        expect_file![path.with_extension("txt")].assert_eq(&shown);
    }
    assert!(150 < problems_seen, "only {problems_seen} mistakes are covered");
}

#[test]
fn good_configurations_become_what_the_rooms_take() {
    for path in yaml_files(&folder("tests/config/good")) {
        let config = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(config.warnings.is_empty(), "{}", config.warnings);
        let shown = format!(
            "{}\n\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n{:#?}\n",
            config.summary(),
            config.gateway,
            config.proxy,
            config.objectives,
            config.rollouts,
            config.guard,
            config.receivers,
            config.api,
            config.store
        );
        assert!(!shown.contains("geheim"), "secrets are not printed");
        expect_file![path.with_extension("txt")].assert_eq(&shown);
    }
}

#[test]
fn examples_pass_without_a_warning_and_the_short_one_is_short() {
    let mut lines = Vec::new();
    for path in yaml_files(&folder("../../examples")) {
        let config = load(&path).unwrap_or_else(|problems| panic!("{}\n{problems}", path.display()));
        assert!(config.warnings.is_empty(), "{}", config.warnings);
        assert_eq!((config.gateway.services.len(), config.rollouts.len(), config.objectives.len()), (1, 1, 2));
        lines.push((path.file_name().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap().lines().count()));
    }
    let short = lines.iter().find(|(name, _)| name == "one-service.yaml").unwrap();
    assert!(short.1 <= 20, "{lines:?}");
}

#[test]
fn the_starter_passes_without_a_warning_also_with_everything_uncommented() {
    for text in [config::STARTER.to_owned(), uncommented(config::STARTER)] {
        let config = config::load_str_with("starter.yaml", &text, &|_| Some("https://example.org/hook".to_owned()))
            .unwrap_or_else(|p| panic!("{p}"));
        assert!(config.warnings.is_empty(), "{}", config.warnings);
    }
    let full = uncommented(config::STARTER);
    assert!(full.matches("\nkind: ").count() >= 5, "the commented documents were not found:\n{full}");
}

/// Takes the comment signs off the documents that stand in comments.
fn uncommented(text: &str) -> String {
    let Some(at) = text.find("# ---") else { return text.to_owned() };
    let (head, tail) = text.split_at(at);
    let lines = tail.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    format!("{head}{}\n", lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn control_gets_the_same_world() {
    let config = load(&folder("../../examples/shop.yaml")).unwrap();
    let key = CellKey {
        route: RouteName::new("shop").unwrap(),
        service: ServiceName::new("shop").unwrap(),
        version: VersionName::new("v1").unwrap(),
    };
    let spec = config.control_spec(&[(CellId(0), key.clone())], &[]);
    assert_eq!(spec.cells, vec![(CellId(0), key)]);
    let service = &spec.services[0];
    assert_eq!(service.routes, vec![RouteName::new("shop").unwrap()]);
    assert_eq!(service.split, config.gateway.services[0].split);
    assert_eq!(service.thresholds, config.gateway.services[0].thresholds);
    assert_eq!(service.versions.len(), 2);
    assert_eq!(spec.receivers.len(), 1);
}

#[test]
fn a_directory_is_one_configuration_and_places_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let service =
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: a}\nspec: {versions: {v1: http://127.0.0.1:1}}\n";
    let route = "apiVersion: homeostat/v1\nkind: Route\nmetadata: {name: r}\nspec: {service: a}\n";
    std::fs::write(dir.path().join("10-service.yaml"), service).unwrap();
    std::fs::write(dir.path().join("20-route.yml"), route).unwrap();
    let config = config::load(dir.path(), &env).unwrap();
    assert_eq!(config.files.len(), 2);
    assert_eq!(config.summary(), "1 listener, 1 service, 1 route, 0 objectives, 0 rollouts, 0 receivers");

    std::fs::write(dir.path().join("20-route.yml"), route.replace("service: a", "service: b")).unwrap();
    std::fs::write(dir.path().join("30-twin.yaml"), service).unwrap();
    let problems = config::load(dir.path(), &env).unwrap_err();
    let places: Vec<String> = problems
        .iter()
        .map(|p| p.spot.as_ref().unwrap())
        .map(|s| format!("{}:{}:{}", Path::new(&s.file).file_name().unwrap().to_str().unwrap(), s.line, s.column))
        .collect();
    assert_eq!(places, ["20-route.yml:4:17", "30-twin.yaml:3:18"]);
}

#[test]
fn a_missing_file_is_a_problem_with_advice() {
    let problems = config::load(Path::new("/no/such/homeostat.yaml"), &env).unwrap_err();
    assert!(problems.to_string().contains("no file or directory"), "{problems}");
}

#[test]
fn files_of_tls_listeners_are_tried_and_each_problem_has_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for name in ["one", "two"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        std::fs::write(at(&format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(at(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    std::fs::write(at("text"), "no PEM at all").unwrap();
    let load = |certificate: &str, key: &str| {
        let path = dir.path().join("homeostat.yaml");
        let text = format!(
            "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{versions: {{v1: http://127.0.0.1:1}}}}\n\
             ---\napiVersion: homeostat/v1\nkind: Gateway\nspec:\n  listeners:\n    - address: 127.0.0.1:8443\n      tls:\n\
             \u{20}       certificate: {}\n        key: {}\n",
            at(certificate),
            at(key)
        );
        std::fs::write(&path, text).unwrap();
        config::load(&path, &env).err().map_or_else(Vec::new, |problems| {
            let found = |p: &config::Problem| (p.spot.as_ref().unwrap().line, p.message.clone());
            problems.iter().map(found).collect()
        })
    };
    assert_eq!(load("one.pem", "one.key"), []);
    for (certificate, key, expected) in [
        ("no.pem", "no.key", &[(12, "there is no file"), (13, "there is no file")][..]),
        ("text", "one.key", &[(12, "cannot be read as PEM")]),
        ("one.key", "one.key", &[(12, "cannot be read as PEM")]),
        ("one.pem", "text", &[(13, "cannot be read as PEM")]),
        ("one.pem", "one.pem", &[(13, "cannot be read as PEM")]),
        ("one.pem", "two.key", &[(13, "do not work together")]),
    ] {
        let found = load(certificate, key);
        assert_eq!(found.len(), expected.len(), "{certificate} {key}: {found:?}");
        for ((line, message), (expected_line, words)) in found.iter().zip(expected) {
            assert!(line == expected_line && message.contains(words), "{certificate} {key}: {found:?}");
        }
    }
}

#[test]
fn files_of_rules_are_tried_and_alerts_have_to_reach_somebody() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let group = |rule: &str| format!("groups: [{{name: g, rules: [{rule}]}}]\n");
    std::fs::write(at("bad.yml"), group("{record: r, expr: 'sum('}")).unwrap();
    std::fs::write(at("records.yml"), group("{record: r, expr: '1'}")).unwrap();
    std::fs::write(at("alerts.yml"), group("{alert: a, expr: '1'}")).unwrap();
    std::fs::write(at("silent.yaml"), format!("rule_files: ['{}']\n", at("alerts.yml"))).unwrap();
    std::fs::write(at("broken.yaml"), format!("rule_files: ['{}']\n", at("bad.yml"))).unwrap();
    let alerting = "alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:9093']}]}]}\n";
    std::fs::write(at("alerting.yaml"), alerting).unwrap();
    let receiver = "---\napiVersion: homeostat/v1\nkind: Receiver\nmetadata: {name: hook}\nspec: {webhook: {url: 'http://127.0.0.1:9/'}}\n";
    let load = |spec: &str, more: &str| {
        let path = dir.path().join("homeostat.yaml");
        let text = format!(
            "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{versions: {{v1: http://127.0.0.1:1}}}}\n\
             ---\napiVersion: homeostat/v1\nkind: Metrics\nspec:\n  {spec}\n{more}"
        );
        std::fs::write(&path, text).unwrap();
        let problems = config::load(&path, &env).map_or_else(|problems| problems, |config| config.warnings);
        problems.iter().map(|p| (p.spot.as_ref().unwrap().line, p.message.clone())).collect::<Vec<_>>()
    };
    let rules = |name: &str| format!("rules: ['{}']", at(name));
    let scrape = |name: &str| format!("scrapeConfig: '{}'", at(name));
    let both = format!("{}\n  {}", rules("alerts.yml"), scrape("alerting.yaml"));
    for good in [rules("records.yml"), rules("none*.yml"), scrape("alerting.yaml"), both] {
        assert_eq!(load(&good, ""), [], "{good}");
    }
    for heard in [rules("alerts.yml"), scrape("silent.yaml")] {
        assert_eq!(load(&heard, receiver), [], "{heard}");
        let found = load(&heard, "");
        assert!(matches!(found.as_slice(), [(9, message)] if message.contains("nobody hears")), "{heard}: {found:?}");
    }
    for bad in [rules("bad.yml"), rules("b*.yml"), rules("missing.yml"), scrape("broken.yaml")] {
        let found = load(&bad, "");
        assert!(matches!(found.as_slice(), [(9, message)] if message.contains("cannot be used")), "{bad}: {found:?}");
    }
}

#[test]
fn an_api_beyond_loopback_is_warned_about_unless_a_proxy_speaks_tls_for_it() {
    let load = |spec: &str| {
        let text = format!(
            "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{versions: {{v1: http://127.0.0.1:1}}}}\n\
             ---\napiVersion: homeostat/v1\nkind: Api\nspec: {{{spec}tokens: [{{name: a, role: read, token: '${{SET}}'}}]}}\n"
        );
        let config = config::load_str_with("x.yaml", &text, &env).unwrap_or_else(|problems| panic!("{problems}"));
        (config.api.external_url, config.warnings.iter().map(|w| w.message.clone()).collect::<Vec<_>>())
    };
    assert_eq!(load(""), (None, vec![]));
    let (url, warnings) = load("listen: 0.0.0.0:7700, externalUrl: 'HTTP://ops.example.org:81/homeostat/', ");
    assert_eq!(url.as_deref(), Some("http://ops.example.org:81/homeostat"));
    assert!(matches!(warnings.as_slice(), [one] if one.contains("cleartext")), "{warnings:?}");
    let (url, warnings) = load("listen: '[::]:7700', externalUrl: 'https://ops.example.org/', ");
    assert_eq!((url.as_deref(), warnings), (Some("https://ops.example.org"), vec![]));
}

#[test]
fn problems_are_data_as_well() {
    let problems = config::load_str("x.yaml", "apiVersion: homeostat/v1\nkind: Gard\n").unwrap_err();
    let json = problems.to_json();
    assert_eq!(json["errors"], 1);
    let spotted = json["problems"].as_array().unwrap().iter().find(|p| p["line"] == 2).unwrap();
    assert_eq!(
        (&spotted["file"], &spotted["column"], &spotted["found"], &spotted["help"], &spotted["severity"]),
        (&"x.yaml".into(), &7.into(), &"Gard".into(), &"write `Guard`".into(), &"error".into())
    );
}

#[test]
fn the_number_of_problems_kept_is_bounded() {
    let keys = (0..1_000).map(|n| format!("  x{n}: 1\n")).collect::<Vec<_>>().concat();
    let problems =
        config::load_str("x.yaml", &format!("apiVersion: homeostat/v1\nkind: Guard\nspec:\n{keys}")).unwrap_err();
    assert_eq!(problems.iter().count(), config::PROBLEMS_MAX);
    assert!(problems.to_string().ends_with("problems more\n"));
}

#[test]
fn the_reference_is_up_to_date() {
    expect_file!["../../../docs/config.md"].assert_eq(&config::markdown());
}

#[test]
fn every_default_is_accepted_by_its_own_reader() {
    let mut text = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: a}\nspec: {versions: {v1: http://127.0.0.1:1, v2: []}, timeouts: {}, objectives: {availability: 99%}}\n".to_owned();
    for kind in ["Guard", "Gateway", "Api", "Store"] {
        text.extend(["---\napiVersion: homeostat/v1\nkind: ", kind, "\nspec: {}\n"]);
    }
    text += "---\napiVersion: homeostat/v1\nkind: Route\nmetadata: {name: a}\nspec: {service: a}\n";
    text += "---\napiVersion: homeostat/v1\nkind: Receiver\nmetadata: {name: a}\nspec: {slack: 'http://127.0.0.1/'}\n";
    text += "---\napiVersion: homeostat/v1\nkind: Rollout\nmetadata: {name: a}\nspec: {service: a, canary: v2, steps: [{weight: 5%}]}\n";
    let config = config::load_str("x.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.guard, homeostat_act_guard::GuardLimits::default(), "the reference states what the rooms use");
    assert_eq!(config.proxy.limits, homeostat_gateway_proxy::spec::ProxyLimits::default());
    assert_eq!(config.gateway.services[0].timeouts, homeostat_gateway_route::spec::Timeouts::default());
    assert_eq!(config.store, homeostat_store_events::spec::StoreSpec::new("homeostat-data".into()));
    let silent = config::load_str("x.yaml", text.split("---").next().unwrap()).unwrap();
    assert_eq!(silent.store, config.store, "a document that is not there says the same");
    assert_eq!(config.rollouts[0].test.tolerance.to_bits(), homeostat_judge_canary::TOLERANCE_DEFAULT.to_bits());
}

/// Every key, word and default that the reader knows stands in the schema: both come from one table, and the schema's
/// walk over it misses nothing.
#[test]
fn the_schema_knows_every_key_of_every_good_file() {
    let schema = config::json_schema();
    let documents = schema["oneOf"].as_array().unwrap();
    assert_eq!(documents.len(), 17);
    let mut words = std::collections::BTreeSet::new();
    collect(&schema, &mut words);
    for path in yaml_files(&folder("tests/config/good")).into_iter().chain(yaml_files(&folder("../../examples"))) {
        for line in std::fs::read_to_string(&path).unwrap().lines().filter(|line| !line.trim_start().starts_with('#')) {
            let key = line.trim_start().trim_start_matches("- ").split(':').next().unwrap();
            let is_known_form =
                key.starts_with("homeostat.dev/") || key.starts_with("example.org/") || key.starts_with('v');
            if line.contains(": ") && !is_known_form && key.bytes().all(|b| b.is_ascii_alphabetic()) {
                assert!(words.contains(key), "{key} of {}", path.display());
            }
        }
    }
}

fn collect(value: &serde_json::Value, words: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(|p| p.as_object()) {
                words.extend(properties.keys().cloned());
            }
            map.values().for_each(|v| collect(v, words));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|v| collect(v, words)),
        _ => {}
    }
}

#[test]
fn profiles_are_taken_by_whom_the_configuration_says() {
    let of = |profiling: &str| {
        let text = format!(
            "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: shop}}\nspec:\n  versions: {{v1: 'http://127.0.0.1:81'}}\n  profiling: {profiling}\n"
        );
        let checked = config::load_str("shop.yaml", &text).unwrap_or_else(|problems| panic!("{profiling}: {problems}"));
        let [profiled] = &checked.profiled[..] else { panic!("{profiling}: {:?}", checked.profiled) };
        (profiled.taken.clone(), profiled.window)
    };
    let asked = |base: &str| Taken::ByItself { base: base.to_owned() };
    let endpoint = "127.0.0.1:81".parse().unwrap();
    let sampled = |hz| Taken::ByTheKernel { endpoint, rate: SampleRate::new(hz).unwrap() };
    assert_eq!(of("{}"), (asked("http://127.0.0.1:81"), Span::from_secs(10)));
    assert_eq!(of("{port: 6060, prefix: /admin/}").0, asked("http://127.0.0.1:6060/admin"));
    assert_eq!(of("{from: kernel}"), (sampled(99), Span::from_secs(10)));
    assert_eq!(of("{from: kernel, rate: 999, window: 1s}"), (sampled(999), Span::from_secs(1)));
}

#[test]
fn sensing_has_a_hard_limit_of_memory_whatever_is_written() {
    let of = |sensing: &str| {
        let shop = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: shop}\nspec: {versions: {v1: \"http://127.0.0.1:81\"}}\n";
        let text = format!("{shop}---\napiVersion: homeostat/v1\nkind: Sensing\nspec: {sensing}\n");
        let checked = config::load_str("shop.yaml", if sensing.is_empty() { shop } else { &text });
        let sensing = checked.unwrap_or_else(|problems| panic!("{problems}")).sensing;
        (sensing.windows_bytes_max >> 20, sensing.rss_bytes_max >> 20)
    };
    assert_eq!(of(""), (256, 2048));
    assert_eq!(of("{}"), (256, 2048));
    assert_eq!(of("{processMemory: 512MiB}"), (256, 512));
    assert_eq!(of("{memory: 64MiB, processMemory: 8GiB}"), (64, 8192));
}
