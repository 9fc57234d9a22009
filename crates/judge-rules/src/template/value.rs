//! Values of templates, and how they are written where they stand alone.

use std::{collections::BTreeMap, rc::Rc};

use homeostat_model::number_text::shortest;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Rc<str>),
    /// Texts by name, such as labels: a name that is not there has the empty text.
    Texts(Rc<BTreeMap<String, String>>),
    /// Values by name that are fixed: another name is a mistake.
    Fields(Rc<BTreeMap<&'static str, Value>>),
    /// An element of a query's answer.
    Sample(Rc<Sample>),
    /// A list.
    List(Rc<[Value]>),
    /// Seconds since 1970.
    Time(f64),
    /// A length of time in seconds.
    Duration(f64),
}

/// An element of a query's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, the name among them.
    pub labels: BTreeMap<String, String>,
    /// Its number.
    pub value: f64,
}

impl Value {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Bytes of its texts, which bound what is written of it; numbers count with their longest form.
    pub(super) fn bytes(&self) -> usize {
        /// The sign, 17 digits, and an exponent; braces and blanks beside it.
        const NUMBER: usize = 32;
        let of_texts = |texts: &BTreeMap<String, String>| -> usize {
            texts.iter().map(|(name, value)| name.len() + value.len() + 2).sum()
        };
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => of_texts(texts) + NUMBER,
            Self::Fields(fields) => fields.values().map(Self::bytes).sum(),
            Self::Sample(sample) => of_texts(&sample.labels) + 2 * NUMBER,
            Self::List(items) => items.iter().map(Self::bytes).sum(),
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Time(_) | Self::Duration(_) => NUMBER,
        }
    }

    /// What Go calls its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Texts(_) => "map[string]string",
            Self::Fields(_) => "struct",
            Self::Sample(_) => "*sample",
            Self::List(_) => "slice",
            Self::Time(_) => "*time.Time",
            Self::Duration(_) => "time.Duration",
        }
    }

    /// Returns false for what is empty: nothing, no, zero, and texts and lists without content.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) | Self::Duration(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Texts(texts) => !texts.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Fields(_) | Self::Sample(_) | Self::Time(_) => true,
        }
    }

    /// As it is written where it stands alone, which is Go's `%v`.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Nil => "<no value>".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => shortest(*value),
            Self::Text(text) => text.to_string(),
            Self::Texts(texts) => shown_map(texts.iter().map(|(name, value)| format!("{name}:{value}"))),
            Self::Fields(fields) => {
                let values: Vec<_> = fields.values().map(Self::shown).collect();
                format!("{{{}}}", values.join(" "))
            }
            Self::Sample(sample) => {
                let labels = shown_map(sample.labels.iter().map(|(name, value)| format!("{name}:{value}")));
                format!("{{{labels} {}}}", shortest(sample.value))
            }
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::shown).collect();
                format!("[{}]", items.join(" "))
            }
            Self::Time(seconds) => super::humanize::timestamp(*seconds),
            Self::Duration(seconds) => super::humanize::go_duration(*seconds),
        }
    }
}

fn shown_map(pairs: impl Iterator<Item = String>) -> String {
    format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
}
