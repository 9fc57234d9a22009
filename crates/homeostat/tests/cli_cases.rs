//! `homeostat profile explain` and `homeostat case` from outside: a change is explained, filed under a name, and named when it
//! comes again; and what is refused, with which words. The changes are episodes of the corpus.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

fn corpus(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/kv").join(file).to_str().unwrap().to_owned()
}

fn cpu(episode: &str) -> String {
    corpus(&format!("{episode}.cpu.pb.gz"))
}

/// What was measured besides during an episode.
fn numbers(episode: &str) -> Value {
    let episodes = fs::read_to_string(corpus("episodes.jsonl")).unwrap();
    let lines = episodes.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut line = lines.into_iter().find(|line| line["id"] == episode).unwrap();
    let seconds = line["windows"].as_f64().unwrap() * line["window_seconds"].as_f64().unwrap();
    line["evidence"]["seconds"] = seconds.into();
    line["evidence"].take()
}

/// A data directory of its own, and the binary on it.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Exit code, output and errors of the command in the data directory `data`.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let data = self.path("data");
        let output = Command::new(env!("CARGO_BIN_EXE_homeostat")).args(args).arg("--data").arg(data).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn done(&self, args: &[&str]) -> String {
        let (code, output, errors) = self.run(args);
        assert_eq!((code, errors.as_str()), (0, ""), "{args:?}");
        output
    }

    fn explained(&self, args: &[&str]) -> Value {
        let all: Vec<&str> = ["profile", "explain", "--json"].into_iter().chain(args.iter().copied()).collect();
        serde_json::from_str(&self.done(&all)).unwrap()
    }

    /// Files the big sort of the corpus under a name of the user's own.
    fn label(&self, pattern: &str, id: &str) -> String {
        let (base, now) = (cpu("kv-normal-l2-2"), cpu("kv-unknown_big_sort-4"));
        self.done(&["case", "label", pattern, "--id", id, "--program", "kv", "--note", "nightly report", &base, &now])
    }
}

fn first(explained: &Value) -> Option<&str> {
    explained["patterns"][0]["pattern"].as_str()
}

#[test]
fn a_change_is_explained_with_its_numbers_and_what_to_do_next() {
    let world = World::new();
    let (base, now) = (cpu("kv-normal-l2-1"), cpu("kv-regex-4"));
    let page = world.done(&["profile", "explain", &base, &now]);
    assert!(page.starts_with("1. regex ("), "{page}");
    for said in ["of CPU time before", "next: see who calls them", "samples before", "missing: a census of both sides"]
    {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
    let explained = world.explained(&[&base, &now]);
    assert_eq!((explained["outcome"].as_str(), first(&explained)), (Some("named"), Some("regex")));
    assert!(explained["patterns"][0]["score"].as_f64().unwrap() > 0.5);
    // Two runs of one behaviour.
    let page = world.done(&["profile", "explain", &base, &cpu("kv-normal-l2-2")]);
    assert!(page.starts_with("nothing got worse") || page.starts_with("not enough evidence"), "{page}");
}

#[test]
fn census_and_numbers_name_what_samples_do_not_show() {
    let world = World::new();
    let (base, now) = ("kv-normal-l2-3", "kv-lock_contention-4");
    let evidence = json!({ "base": numbers(base), "now": numbers(now) }).to_string();
    let evidence = world.text("numbers.json", evidence);
    let census = |episode: &str| corpus(&format!("{episode}.census.pb.gz"));
    let (base_census, now_census) = (census(base), census(now));
    let (base, now) = (cpu(base), cpu(now));
    let whole = [&base, &now, "--census-base", &base_census, "--census-now", &now_census, "--evidence", &evidence];
    let explained = world.explained(&whole);
    assert_eq!(first(&explained), Some("lock_contention"), "{explained:#}");
    let lines = explained["patterns"][0]["evidence"].to_string();
    assert!(lines.contains("waiting for lock"), "{lines}");
    assert!(!explained["missing"].to_string().contains("census"), "{explained:#}");
}

#[test]
fn a_change_that_was_labelled_is_named_when_it_comes_again_and_elsewhere() {
    let world = World::new();
    let (base, again) = (cpu("kv-normal-l2-2"), cpu("kv-unknown_big_sort-4"));
    let before = world.explained(&[&base, &again]);
    assert_ne!(first(&before), Some("sorts_everything"), "{before:#}");
    assert_eq!(world.label("sorts_everything", "INC-17"), "INC-17 is filed as sorts_everything\n");
    let after = world.explained(&[&base, &again]);
    assert_eq!(first(&after), Some("sorts_everything"), "{after:#}");
    assert_eq!(after["cases"]["neighbours"][0]["id"], "INC-17");

    let own = world.done(&["case", "list", "--own"]);
    assert_eq!(own.lines().count(), 2, "{own}");
    assert!(own.contains("INC-17") && own.contains("nightly report"), "{own}");
    let all = world.done(&["case", "list"]);
    assert!(100 < all.lines().count() && all.contains("INC-17"), "shipped cases are listed too");
    let shown = world.done(&["case", "show", "INC-17"]);
    assert!(
        shown.starts_with("INC-17: sorts_everything in kv  nightly report\n") && shown.contains("c:sort"),
        "{shown}"
    );
    let line: Value = serde_json::from_str(world.done(&["case", "list", "--own", "--json"]).trim()).unwrap();
    assert_eq!((&line["id"], &line["program"]), (&"INC-17".into(), &"kv".into()));
    // A case holds no name of the program's own functions.
    assert!(!line.to_string().contains("main."), "{line}");

    let file = world.path("cases.jsonl").to_str().unwrap().to_owned();
    assert!(world.done(&["case", "export", &file]).starts_with("1 cases written to "));
    let elsewhere = World::new();
    assert_eq!(elsewhere.done(&["case", "import", &file]), "1 cases taken over\n");
    assert_eq!(first(&elsewhere.explained(&[&base, &again])), Some("sorts_everything"));
}

#[test]
fn the_latest_label_of_a_case_counts() {
    let world = World::new();
    world.label("sorts_everything", "INC-17");
    world.label("report_in_the_request", "INC-17");
    let own = world.done(&["case", "list", "--own"]);
    assert!(own.lines().count() == 2 && own.contains("report_in_the_request"), "{own}");
    // Labels are only added: the file remembers both.
    assert_eq!(fs::read_to_string(world.path("data/cases.jsonl")).unwrap().lines().count(), 2);
    // An editor may have left the last line open.
    let own = world.path("data/cases.jsonl");
    let text = fs::read_to_string(&own).unwrap();
    fs::write(&own, text.trim_end()).unwrap();
    // A case of one's own with a shipped one's id stands for it.
    let shipped: Value = {
        let all = world.done(&["case", "list", "--json"]);
        serde_json::from_str(all.lines().next().unwrap()).unwrap()
    };
    let id = shipped["id"].as_str().unwrap();
    world.label("mine", id);
    let shown = world.done(&["case", "show", id]);
    assert!(shown.starts_with(&format!("{id}: mine in kv")), "{shown}");
}

#[test]
fn profiles_and_numbers_that_cannot_be_read_are_told() {
    let world = World::new();
    let (base, now) = (cpu("kv-normal-l2-1"), cpu("kv-regex-4"));
    let no_profile = world.text("no.pb.gz", "this is no profile");
    let cut = world.text("cut.pb.gz", &fs::read(&base).unwrap()[..200]);
    let no_json = world.text("no.json", "base: 1");
    let unknown = world.text("unknown.json", r#"{"base": {}, "now": {}, "then": {}}"#);
    let half = world.text("half.json", r#"{"base": {"p99_ms": 1}}"#);
    let words = world.text("words.json", r#"{"base": {"p99_ms": "fast"}, "now": {}}"#);
    let large = world.text("large.json", vec![b' '; (1 << 20) + 1]);
    for (args, said) in [
        (vec!["/no/such/file", &now], "/no/such/file cannot be read: No such file"),
        (vec![&base, &no_profile], "no.pb.gz cannot be read: "),
        (vec![&cut, &now], "cut.pb.gz cannot be read: "),
        (
            vec![&base, &now, "--census-base", "/no/census", "--census-now", &now],
            "/no/census cannot be read: No such file",
        ),
        (vec![&base, &now, "--evidence", "/no/numbers"], "/no/numbers cannot be read: No such file"),
        (vec![&base, &now, "--evidence", &no_json], "no.json cannot be read: expected value at line 1"),
        (vec![&base, &now, "--evidence", &unknown], "unknown.json cannot be read: unknown field `then`"),
        (vec![&base, &now, "--evidence", &half], "half.json cannot be read: missing field `now`"),
        (vec![&base, &now, "--evidence", &words], "words.json cannot be read: invalid type: string \"fast\""),
        (vec![&base, &now, "--evidence", &large], "large.json cannot be read: 1048577 bytes, 1048576 at most"),
    ] {
        let explain: Vec<&str> = ["profile", "explain"].into_iter().chain(args.iter().copied()).collect();
        let label = ["case", "label", "regex", "--id", "a", "--program", "kv"];
        let label: Vec<&str> = label.into_iter().chain(args.iter().copied()).collect();
        for args in [explain, label] {
            let (code, output, errors) = world.run(&args);
            assert_eq!((code, output.as_str()), (1, ""), "{args:?}");
            assert!(errors.starts_with("homeostat: ") && errors.contains(said), "{args:?}: {errors}");
        }
    }
    // One side alone is no comparison.
    let (code, _, errors) = world.run(&["profile", "explain", &base, &now, "--census-now", &now]);
    assert!(code == 2 && errors.contains("--census-base"), "{errors}");
    assert!(!world.path("data").exists(), "nothing was filed");
}

#[test]
fn labels_that_teach_nothing_are_refused() {
    let world = World::new();
    let (base, same, now) = (cpu("kv-normal-l2-1"), cpu("kv-normal-l2-1"), cpu("kv-regex-4"));
    let long = "x".repeat(201);
    for (pattern, id, now, said) in [
        ("regex", "a", &same, "nothing moved beyond noise between the two sides"),
        ("", "a", &now, "`pattern` is empty"),
        ("regex", "", &now, "`id` is empty"),
        ("regex", &long, &now, "longer than 200 bytes"),
        ("reg\u{7}ex", "a", &now, "control characters"),
    ] {
        let (code, output, errors) = world.run(&["case", "label", pattern, "--id", id, "--program", "kv", &base, now]);
        assert_eq!((code, output.as_str()), (1, ""), "{pattern:?} {id:?}");
        assert!(errors.contains(said), "{pattern:?} {id:?}: {errors}");
    }
    assert!(!world.path("data").exists(), "nothing was filed");
}

#[test]
fn damaged_libraries_are_told_with_their_line_and_change_nothing() {
    let world = World::new();
    world.label("sorts_everything", "INC-17");
    let own = world.path("data/cases.jsonl");
    let before = fs::read(&own).unwrap();
    let good = r#"{"id":"a","pattern":"x","program":"p","vector":{"c:sort":0.5}}"#;
    for (name, content, said) in [
        ("half.jsonl", format!("{good}\n{{\"id\":\"b\"}}\n"), "half.jsonl: line 2: missing field `pattern`"),
        ("more.jsonl", good.replace("\"id\"", "\"more\":1,\"id\""), "more.jsonl: line 1: unknown field `more`"),
        ("far.jsonl", good.replace("0.5", "2"), "numbers of `vector` lie between -1 and 1"),
        ("text.jsonl", "a case\n".to_owned(), "text.jsonl: line 1: expected value"),
        ("wide.jsonl", good.replace("\"p\"", &format!("\"{}\"", "p".repeat(256 << 10))), "262144 at most"),
    ] {
        let file = world.text(name, content);
        let (code, output, errors) = world.run(&["case", "import", &file]);
        assert_eq!((code, output.as_str()), (1, ""), "{name}");
        assert!(errors.contains(said) && errors.contains("docs/format/cases.md"), "{name}: {errors}");
        assert_eq!(fs::read(&own).unwrap(), before, "{name} changed something");
    }
    for (args, said) in [
        (&["case", "show", "nobody"][..], "there is no case nobody; `homeostat case list` shows all"),
        (&["case", "import", "/no/such/file"], "/no/such/file: No such file"),
        (&["case", "export", "/no/such/dir/cases.jsonl"], "/no/such/dir/cases.jsonl: No such file"),
    ] {
        let (code, _, errors) = world.run(args);
        assert_eq!(code, 1, "{args:?}");
        assert!(errors.contains(said), "{args:?}: {errors}");
    }
    // The user's own library damaged: everybody who needs it says which line.
    fs::write(&own, format!("{good}\nnot a case\n")).unwrap();
    let (base, now) = (cpu("kv-normal-l2-1"), cpu("kv-regex-4"));
    let file = world.path("out.jsonl").to_str().unwrap().to_owned();
    for args in [
        &["case", "list"][..],
        &["case", "list", "--own"],
        &["case", "show", "a"],
        &["case", "export", &file],
        &["profile", "explain", &base, &now],
    ] {
        let (code, _, errors) = world.run(args);
        assert_eq!(code, 1, "{args:?}");
        assert!(errors.contains("data/cases.jsonl: line 2: expected"), "{args:?}: {errors}");
    }
    assert!(!world.path("out.jsonl").exists());
}
