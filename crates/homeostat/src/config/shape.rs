//! What may be written where: the one table behind the structural checks, the JSON Schema and the reference page.
//!
//! Every type that can be read from YAML ([`super::read::Read`]) describes itself as a [`Shape`]. Records are declared
//! once, by [`super::read::record`], which makes the reader and the shape from the same lines; so the three can
//! never disagree. Decision 0061.

/// What a value looks like.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// A single value.
    Scalar(Scalar),
    /// One of these words, each with its meaning.
    Words(&'static [(&'static str, &'static str)]),
    /// A list.
    List(Box<Shape>),
    /// One value, or a list of them.
    OneOrMany(Box<Shape>),
    /// Keys chosen by the user.
    Entries {
        /// What a key stands for.
        key: &'static str,
        /// What each value looks like.
        value: Box<Shape>,
    },
    /// Known keys.
    Record(Record),
    /// A short form, and the long one.
    Either(Vec<Shape>),
    /// Anything; only looked at by others.
    Any,
}

/// A single value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar {
    /// What it is, with its article: "a duration".
    pub noun: &'static str,
    /// How it may look.
    pub example: &'static str,
    /// Its types in JSON Schema.
    pub json: &'static [&'static str],
    /// A regular expression (ECMA 262) that its text matches; empty for any.
    pub pattern: &'static str,
    /// Its range; for numbers only.
    pub range: Option<(f64, f64)>,
}

/// A mapping with known keys.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// What it is, in sentences.
    pub about: &'static str,
    /// Its keys in the order in which people should read them.
    pub fields: Vec<Field>,
}

/// One key of a record.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    /// The key.
    pub key: &'static str,
    /// What it means, with units.
    pub about: &'static str,
    /// Whether it may be left out.
    pub need: Need,
    /// What its value looks like.
    pub shape: Shape,
}

/// Whether a key may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It may not.
    Required,
    /// It may; what then happens is said in words.
    Optional,
    /// It may; this YAML is then read in its place.
    Default(&'static str),
}

impl Shape {
    /// What to write, for people: "a duration such as `200ms`".
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Scalar(scalar) => format!("{} such as `{}`", scalar.noun, scalar.example),
            Self::Words(words) => super::suggest::one_of(words.iter().map(|(word, _)| *word)),
            Self::List(item) => format!("a list, each item {}", item.expected()),
            Self::OneOrMany(item) => format!("{}, or a list of such", item.expected()),
            Self::Entries { key, value } => format!("{key} as keys, each with {}", value.expected()),
            Self::Record(record) => {
                let keys = record.fields.iter().filter(|f| f.need == Need::Required).map(|f| f.key);
                let keys: Vec<&str> = keys.collect();
                match keys.as_slice() {
                    [] => {
                        "a mapping with keys such as ".to_owned()
                            + &super::suggest::one_of(record.fields.iter().take(3).map(|f| f.key))
                    }
                    keys => format!(
                        "a mapping with {}",
                        keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
                    ),
                }
            }
            Self::Either(shapes) => shapes.iter().map(Self::expected).collect::<Vec<_>>().join(", or "),
            Self::Any => "any value".to_owned(),
        }
    }
}
