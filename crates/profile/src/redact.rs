//! What must not be kept, taken out before anything is kept.
//!
//! Two rules: the values of labels with certain names become [`REDACTED`]; and in every text of a profile (names and values of
//! labels, names of functions, files and modules, types and units) what looks like a certain thing is replaced.
//!
//! Not here: where the patterns come from, and who must apply them (`store-profiles`, before its log).

use homeostat_model::{
    Labels,
    profile::{Frame, LabelValue, Profile, Stack, ValueType},
};
use regex::Regex;

/// What stands in the place of a label's value.
pub const REDACTED: &str = "<redacted>";

/// Names of labels that speak of people and places.
pub const KEYS_DEFAULT: &str = "host|path|url";

/// What is replaced within texts: addresses of the web (with the credentials and queries in them), and the part of a path
/// that names a person.
pub const VALUES_DEFAULT: [(&str, &str); 3] = [
    (r#"[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+"#, "<url>"),
    // Names of people may have blanks where something follows in the path.
    (r"(/(?:home|Users)/|\\Users\\)[^/\\\r\n]+([/\\])", "$1<user>$2"),
    (r"(/(?:home|Users)/|\\Users\\)[^/\\\s]+", "$1<user>"),
];

/// Longest pattern, in bytes of its compiled form: nobody needs a megabyte to say what is private.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is no pattern of what must not be kept: {reason}")]
pub struct BadPattern {
    /// As written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What must not be kept.
#[derive(Clone, Debug)]
pub struct Redaction {
    keys: Option<Regex>,
    values: Vec<(Regex, String)>,
}

impl Redaction {
    /// Values of labels whose name has a match of `keys` anywhere, in any case; an empty pattern matches no name. What `values`
    /// match is replaced by their second part, in which `$1` is a group.
    pub fn new(keys: &str, values: &[(&str, &str)]) -> Result<Self, BadPattern> {
        let keys = if keys.is_empty() { None } else { Some(compile(keys)?) };
        let values: Result<_, _> =
            values.iter().map(|(pattern, put)| Ok((compile(pattern)?, (*put).to_owned()))).collect();
        Ok(Self { keys, values: values? })
    }

    /// Nothing is taken out.
    pub const fn nothing() -> Self {
        Self { keys: None, values: Vec::new() }
    }

    /// The text that is kept for this one.
    pub fn text(&self, text: &str) -> String {
        let mut kept = text.to_owned();
        for (pattern, put) in &self.values {
            if let std::borrow::Cow::Owned(replaced) = pattern.replace_all(&kept, put) {
                kept = replaced;
            }
        }
        kept
    }

    fn is_private(&self, name: &str) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.is_match(name))
    }

    fn value(&self, name: &str, value: &str) -> String {
        if self.is_private(name) { REDACTED.to_owned() } else { self.text(value) }
    }

    /// The labels that are kept for these ones. Of two whose names become one the later stays.
    pub fn labels(&self, labels: &Labels) -> Labels {
        Labels::new(labels.iter().map(|(name, value)| (self.text(name), self.value(name, value))))
    }

    fn value_type(&self, counted: &ValueType) -> ValueType {
        ValueType { kind: self.text(&counted.kind), unit: self.text(&counted.unit) }
    }

    /// The profile that is kept for this one. Texts that nothing needs are gone as well.
    pub fn profile(&self, profile: &Profile) -> Profile {
        let mut kept = Profile::new(profile.types().iter().map(|counted| self.value_type(counted)).collect());
        kept.set_default_type(profile.default_type());
        (kept.started_ns, kept.duration_ns) = (profile.started_ns, profile.duration_ns);
        (kept.period_type, kept.period) = (self.value_type(&profile.period_type), profile.period);
        let texts: Vec<String> = profile.strings().iter().map(|text| self.text(text)).collect();
        let text = |id: homeostat_model::profile::Text| texts.get(id.index()).map_or("", |text| text.as_str());
        let mut stacks = vec![Stack::EMPTY];
        for stack in profile.stacks().iter() {
            let parent = stacks.get(profile.stacks().parent(stack).index()).copied().unwrap_or(Stack::EMPTY);
            let Some(frame) = profile.stacks().frame(stack) else { continue };
            let function = kept.intern(text(frame.function));
            let (file, module) = (kept.intern(text(frame.file)), kept.intern(text(frame.module)));
            stacks.push(kept.push_frame(parent, Frame { function, file, module, ..*frame }));
        }
        let sets: Vec<_> = profile.label_sets().map(|(_, labels)| self.label_set(profile, labels, &mut kept)).collect();
        for row in profile.rows() {
            let stack = stacks.get(row.stack.index()).copied().unwrap_or(Stack::EMPTY);
            if let Some(labels) = sets.get(row.labels.index()) {
                kept.add(stack, *labels, row.values);
            }
        }
        kept
    }

    fn label_set(
        &self,
        profile: &Profile,
        labels: &[(homeostat_model::profile::Text, LabelValue)],
        kept: &mut Profile,
    ) -> homeostat_model::profile::LabelSet {
        let copied = labels.iter().map(|(name, value)| {
            let name = profile.text(*name);
            let value = match value {
                LabelValue::Text(text) => LabelValue::Text(kept.intern(&self.value(name, profile.text(*text)))),
                LabelValue::Number { .. } if self.is_private(name) => LabelValue::Text(kept.intern(REDACTED)),
                LabelValue::Number { value, unit } => {
                    LabelValue::Number { value: *value, unit: kept.intern(&self.text(profile.text(*unit))) }
                }
            };
            (kept.intern(&self.text(name)), value)
        });
        let copied: Vec<_> = copied.collect();
        kept.intern_labels(copied)
    }
}

impl Default for Redaction {
    fn default() -> Self {
        // The patterns are part of the program and compile, which a test sees to.
        Self::new(KEYS_DEFAULT, &VALUES_DEFAULT).unwrap_or_else(|_| Self::nothing())
    }
}

fn compile(pattern: &str) -> Result<Regex, BadPattern> {
    let compiled = regex::RegexBuilder::new(pattern).case_insensitive(true).size_limit(PATTERN_BYTES_MAX).build();
    compiled.map_err(|error| BadPattern { pattern: pattern.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_go_by_name_and_texts_by_what_they_look_like() {
        let redaction = Redaction::new(KEYS_DEFAULT, &VALUES_DEFAULT).unwrap();
        let labels =
            Labels::new([("Hostname", "web-17"), ("http.url", "/x"), ("region", "eu"), ("note", "a http://b:c@d/e f")]);
        assert_eq!(
            redaction.labels(&labels).to_string(),
            r#"{Hostname="<redacted>", "http.url"="<redacted>", note="a <url> f", region="eu"}"#
        );
        for (folder, file) in [("home", "main.go"), ("Users", "a b.rs")] {
            assert_eq!(redaction.text(&format!("/{folder}/alice/{file}")), format!("/{folder}/<user>/{file}"));
        }
        let blanks = [(r"C:\Users\Ann Lee\x", r"C:\Users\<user>\x"), (r"C:\Users\Ann", r"C:\Users\<user>")];
        for (text, kept) in blanks {
            assert_eq!(redaction.text(text), kept);
        }
        assert_eq!(redaction.text("github.com/x/y.(*T).F"), "github.com/x/y.(*T).F");
        assert!(Redaction::new("(", &[]).is_err());
        let nothing = Redaction::new("", &[]).unwrap();
        assert_eq!(nothing.labels(&labels), labels);
    }

    #[test]
    fn a_profile_keeps_its_numbers() {
        let mut profile = Profile::new(vec![ValueType::new("cpu", "nanoseconds")]);
        let (name, file) = (profile.intern("main.main"), profile.intern(concat!("/", "Users/bob/main.go")));
        let none = homeostat_model::profile::Text::EMPTY;
        let frame = Frame { function: name, file, line: 3, module: none, address: 0, inlined: false };
        let stack = profile.push_frame(Stack::EMPTY, frame);
        for host in ["a", "b"] {
            let (key, value) = (profile.intern("host"), profile.intern(host));
            let labels = profile.intern_labels(vec![(key, LabelValue::Text(value))]);
            profile.add(stack, labels, &[5]);
        }
        let kept = Redaction::default().profile(&profile);
        assert_eq!((kept.rows().len(), kept.total(0)), (1, 10), "two hosts are one");
        let texts: Vec<&str> = kept.strings().iter().collect();
        assert_eq!(texts, ["", "main.main", concat!("/", "Users/<user>/main.go"), REDACTED, "host"]);
    }
}
