//! From the YAML tree to raw types, collecting every problem on the way.
//!
//! [`Read`] is implemented by values (`scalar.rs`, [`words`]), containers (here) and records ([`record`]). A reader
//! that fails has reported why and returns `None`; its parent goes on with the next key, so that one mistake never
//! hides another.

use std::collections::BTreeSet;

use super::{
    problem::Problem,
    scalar::no_variables,
    shape::{Need, Record, Shape},
    source::{At, Place},
    suggest::{nearest, one_of},
    tree::{Data, Node},
};

/// What reading and checking share: the list of problems, the environment, and where secrets stand.
pub(crate) struct Context<'a> {
    /// All problems so far.
    pub problems: Vec<Problem>,
    /// Looks an environment variable up; asked for secrets only.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Where secrets stand, to be masked in everything that is shown.
    pub secrets: Vec<Place>,
    /// Mappings and lists of which a part could not be read: what seems to be missing there was probably meant.
    pub broken: BTreeSet<Place>,
    /// What stands outside the text: files that it names, variables.
    pub outside: Outside,
    /// Variables and files that are not here and were taken to be there.
    pub assumed: BTreeSet<String>,
}

/// What a check may ask the machine for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outside {
    /// Nothing but variables: the text alone is checked.
    #[default]
    Text,
    /// Files that it names are read.
    Here,
    /// As `Here`, but variables and files that are not here are taken to be where it will run.
    Elsewhere,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    /// A fresh start.
    pub(crate) fn new(problems: Vec<Problem>, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            problems,
            env,
            secrets: Vec::new(),
            broken: BTreeSet::new(),
            outside: Outside::default(),
            assumed: BTreeSet::new(),
        }
    }

    /// Whether everything within the mapping or list at this place could be read. Where not, complaints about what is
    /// left out would only repeat what has been reported.
    pub(crate) fn is_sound(&self, place: Place) -> bool {
        !self.broken.contains(&place)
    }

    /// Reports an error at a place, with what to write instead.
    pub(crate) fn error(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::error(message).help(help).at(place));
    }

    /// Reports a warning at a place, with what to write instead.
    pub(crate) fn warn(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::warning(message).help(help).at(place));
    }
}

/// Something that can be written in a configuration.
pub(crate) trait Read: Sized {
    /// What it looks like.
    fn shape() -> Shape;
    /// Reads it; `None` after reporting why not.
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self>;
}

/// Reports that a node is of the wrong kind.
pub(crate) fn wrong_kind(node: &Node, shape: &Shape, cx: &mut Context<'_>) {
    cx.error(
        node.place,
        format!("expected {}, found {}", noun(shape), node.noun()),
        format!("write {}", shape.expected()),
    );
}

fn noun(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(scalar) => scalar.noun.to_owned(),
        Shape::Words(_) => "a word".to_owned(),
        Shape::List(_) => "a list".to_owned(),
        Shape::OneOrMany(item) => format!("{} or a list", noun(item)),
        Shape::Entries { .. } | Shape::Record(_) => "a mapping of keys to values".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(noun).collect::<Vec<_>>().join(" or "),
        Shape::Any => "a value".to_owned(),
    }
}

impl<T: Read> Read for At<T> {
    fn shape() -> Shape {
        T::shape()
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        T::read(node, cx).map(|value| Self::new(value, node.place))
    }
}

impl<T: Read> Read for Vec<T> {
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        if let Data::Sequence(items) = &node.data {
            let read: Vec<T> = items.iter().filter_map(|item| T::read(item, cx)).collect();
            if read.len() < items.len() {
                cx.broken.insert(node.place);
            }
            Some(read)
        } else {
            wrong_kind(node, &Self::shape(), cx);
            None
        }
    }
}

/// One value or a list of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OneOrMany<T>(pub Vec<At<T>>);

impl<T: Read> Read for OneOrMany<T> {
    fn shape() -> Shape {
        Shape::OneOrMany(Box::new(T::shape()))
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        match &node.data {
            Data::Sequence(_) => Vec::<At<T>>::read(node, cx).map(Self),
            _ => At::<T>::read(node, cx).map(|one| Self(vec![one])),
        }
    }
}

/// A record with a short form: a value that is no mapping stands for one of its keys.
pub(crate) trait ShortForm: Read {
    /// What the short form looks like.
    type Short: Read;
    /// The record that a short form stands for.
    fn from_short(short: At<Self::Short>) -> Self;
}

/// Reads a record in either form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Short<R>(pub R);

impl<R: ShortForm> Read for Short<R> {
    fn shape() -> Shape {
        Shape::Either(vec![R::Short::shape(), R::shape()])
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        match &node.data {
            Data::Mapping(_) => R::read(node, cx).map(Self),
            Data::Null => {
                wrong_kind(node, &Self::shape(), cx);
                None
            }
            _ => At::<R::Short>::read(node, cx).map(R::from_short).map(Self),
        }
    }
}

/// Keys chosen by the user, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entries<K, V>(pub Vec<(At<K>, At<V>)>);

impl<K: Key, V: Read> Read for Entries<K, V> {
    fn shape() -> Shape {
        Shape::Entries { key: K::PLURAL, value: Box::new(V::shape()) }
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        let Data::Mapping(entries) = &node.data else {
            wrong_kind(node, &Self::shape(), cx);
            return None;
        };
        let mut read = Vec::new();
        for (key, value) in entries {
            // Both are read before either failure counts, so that problems of both are reported.
            let (key, value) = (K::of(key, cx), At::<V>::read(value, cx));
            if let (Some(key), Some(value)) = (key, value) {
                read.push((key, value));
            } else {
                cx.broken.insert(node.place);
            }
        }
        Some(Self(read))
    }
}

/// What can be a key of [`Entries`].
pub(crate) trait Key: Sized {
    /// What such keys stand for, in the plural: "version names".
    const PLURAL: &'static str;
    /// Checks a key.
    fn of(key: &At<String>, cx: &mut Context<'_>) -> Option<At<Self>>;
}

impl Key for String {
    const PLURAL: &'static str = "names";
    fn of(key: &At<String>, _: &mut Context<'_>) -> Option<At<Self>> {
        Some(key.clone())
    }
}

/// Anything at all, kept as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Any(pub Node);

impl Read for Any {
    fn shape() -> Shape {
        Shape::Any
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        refuse_variables(node, cx);
        Some(Self(node.clone()))
    }
}

fn refuse_variables(node: &Node, cx: &mut Context<'_>) {
    match &node.data {
        Data::Null => {}
        Data::Plain(text) | Data::Quoted(text) => {
            no_variables(text, node.place, cx);
        }
        Data::Sequence(items) => items.iter().for_each(|item| refuse_variables(item, cx)),
        Data::Mapping(entries) => entries.iter().for_each(|(_, value)| refuse_variables(value, cx)),
    }
}

/// The value of `key`, when something is written there.
pub(crate) fn lookup<'n>(entries: &'n [(At<String>, Node)], key: &str) -> Option<&'n Node> {
    entries.iter().find(|(k, node)| k.value == key && node.data != Data::Null).map(|(_, node)| node)
}

/// Opens a record: its entries, after unknown keys and missing ones have been reported.
pub(crate) fn open_record<'n>(
    node: &'n Node,
    record: &Record,
    cx: &mut Context<'_>,
) -> Option<&'n [(At<String>, Node)]> {
    let entries: &[(At<String>, Node)] = match &node.data {
        Data::Mapping(entries) => entries,
        // A key with nothing behind it is a record in which everything is left out.
        Data::Null => &[],
        _ => {
            wrong_kind(node, &Shape::Record(record.clone()), cx);
            return None;
        }
    };
    let known = || record.fields.iter().map(|field| field.key);
    let unused: Vec<&str> = known().filter(|k| entries.iter().all(|(key, _)| key.value != *k)).collect();
    let mut guessed = Vec::new();
    for (key, _) in entries.iter().filter(|(key, _)| !known().any(|k| k == key.value)) {
        let help = match (key.value.as_str(), nearest(&key.value, unused.iter().copied())) {
            ("<<", _) => {
                "merge keys are not understood; write the keys out, or give the whole value an alias".to_owned()
            }
            (_, Some(near)) => {
                guessed.push(near);
                format!("write `{near}`")
            }
            (_, None) => format!("known here: {}", one_of(known())),
        };
        cx.error(key.place, format!("unknown key `{}`", key.value), help);
        cx.broken.insert(node.place);
    }
    for field in &record.fields {
        // A required key that was merely misspelt has been reported already.
        if field.need == Need::Required && lookup(entries, field.key).is_none() && !guessed.contains(&field.key) {
            cx.error(
                node.place,
                format!("`{}` is missing", field.key),
                format!("add `{}:` with {}", field.key, field.shape.expected()),
            );
        }
    }
    Some(entries)
}

/// Reads the default of a field, at the place of the record that leaves it out.
pub(crate) fn read_default<T: Read>(text: &str, place: Place, cx: &mut Context<'_>) -> Option<At<T>> {
    let node = super::tree::parse("default", text, place.file, &mut cx.problems).documents.into_iter().next()?;
    T::read(&at(node, place), cx).map(|value| At::new(value, place))
}

fn at(mut node: Node, place: Place) -> Node {
    node.place = place;
    match &mut node.data {
        Data::Sequence(items) => {
            for item in items {
                *item = at(std::mem::replace(item, Node { place, data: Data::Null }), place);
            }
        }
        Data::Mapping(entries) => {
            for (key, value) in entries {
                key.place = place;
                *value = at(std::mem::replace(value, Node { place, data: Data::Null }), place);
            }
        }
        Data::Null | Data::Plain(_) | Data::Quoted(_) => {}
    }
    node
}

/// Declares a record: its meaning, and per key the field, its type, whether it is needed, and what it means.
/// Every field is an `Option<At<T>>`: `None` when it is optional and left out, or when a problem was reported.
macro_rules! record {
    ($(#[doc = $about:literal])+ $name:ident {
        $( $(#[doc = $doc:literal])+ $key:literal $field:ident: $ty:ty => $need:ident $($default:literal)? ; )*
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name {
            $( $(#[doc = $doc])+ pub $field: Option<$crate::config::source::At<$ty>>, )*
        }

        impl $name {
            /// The keys and what they mean.
            pub(crate) fn record() -> $crate::config::shape::Record {
                $crate::config::shape::Record {
                    about: concat!($($about, "\n"),+),
                    fields: vec![ $( $crate::config::shape::Field {
                        key: $key,
                        about: concat!($($doc, "\n"),+),
                        need: $crate::config::read::record!(@need $need $($default)?),
                        shape: <$ty as $crate::config::read::Read>::shape(),
                    }, )* ],
                }
            }
        }

        impl $crate::config::read::Read for $name {
            fn shape() -> $crate::config::shape::Shape {
                $crate::config::shape::Shape::Record(Self::record())
            }
            fn read(node: &$crate::config::tree::Node, cx: &mut $crate::config::read::Context<'_>) -> Option<Self> {
                let entries = $crate::config::read::open_record(node, &Self::record(), cx)?;
                Some(Self { $( $field: match $crate::config::read::lookup(entries, $key) {
                    Some(value) => {
                        let read = $crate::config::read::Read::read(value, cx);
                        if read.is_none() {
                            cx.broken.insert(node.place);
                        }
                        read
                    }
                    None => $crate::config::read::record!(@absent node cx $($default)?),
                }, )* })
            }
        }
    };
    (@need required) => { $crate::config::shape::Need::Required };
    (@need optional) => { $crate::config::shape::Need::Optional };
    (@need default $default:literal) => { $crate::config::shape::Need::Default($default) };
    (@absent $node:ident $cx:ident) => { None };
    (@absent $node:ident $cx:ident $default:literal) => {
        $crate::config::read::read_default($default, $node.place, $cx)
    };
}
pub(crate) use record;

/// Declares the words of an enum of this crate or another: `words! { Type { "word" => Type::Variant, "meaning"; } }`.
macro_rules! words {
    ($ty:ty { $( $word:literal => $value:expr, $meaning:literal; )+ }) => {
        impl $crate::config::read::Read for $ty {
            fn shape() -> $crate::config::shape::Shape {
                $crate::config::shape::Shape::Words(&[$(($word, $meaning)),+])
            }
            fn read(node: &$crate::config::tree::Node, cx: &mut $crate::config::read::Context<'_>) -> Option<Self> {
                match $crate::config::scalar::word(node, &[$($word),+], cx)? {
                    $( $word => Some($value), )+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use words;
