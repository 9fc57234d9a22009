//! Documents: which kinds there are, and their common frame of `apiVersion`, `kind`, `metadata` and `spec`.
//!
//! The table in `documents!` is the list of kinds: the reader, the JSON Schema and the reference page all go through
//! it.

use super::{
    raw::{self, openslo::Metadata},
    read::{Any, Context, Read, lookup, open_record},
    shape::{Field, Need, Record, Scalar, Shape},
    source::{At, Place},
    suggest::{nearest, one_of},
    tree::{Data, Node},
};

/// The version of Homeostat's own documents.
pub(crate) const OURS: &str = "homeostat/v1";
/// The version of OpenSLO documents.
pub(crate) const OPENSLO: &str = "openslo/v1";

/// A document of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Document<T> {
    /// Its name, if it is a text; required unless the kind stands alone.
    pub name: Option<At<String>>,
    /// For people.
    pub display_name: Option<At<String>>,
    /// Annotations, as written.
    pub annotations: Vec<(At<String>, At<Any>)>,
    /// Where the document says its kind.
    pub place: Place,
    /// Where its `spec` stands, or else its kind.
    pub(crate) spec_place: Place,
    /// What it says; `None` when it could not be read at all.
    pub spec: Option<T>,
}

/// How many documents of a kind there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Many {
    /// Any number, told apart by name.
    Named,
    /// At most one; the name may be left out.
    Single,
}

/// A kind of document.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// Its `apiVersion`.
    pub api: &'static str,
    /// Its `kind`.
    pub kind: &'static str,
    /// How many there may be.
    pub many: Many,
    /// What its `spec` looks like.
    pub spec: Record,
}

macro_rules! documents {
    ($( $api:ident $kind:literal $many:ident $field:ident: $ty:ty; )+) => {
        /// All documents of a configuration by kind, each list in the order of the files.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Documents {
            $( #[doc = concat!("`", $kind, "` documents.")] pub $field: Vec<Document<$ty>>, )+
        }

        /// All kinds, in the order in which people should read about them.
        pub(crate) fn kinds() -> Vec<Kind> {
            vec![ $( Kind { api: $api, kind: $kind, many: Many::$many, spec: <$ty>::record() } ),+ ]
        }

        impl Documents {
            fn add(&mut self, kind: &Kind, entries: &[(At<String>, Node)], place: Place, cx: &mut Context<'_>) {
                match (kind.api, kind.kind) {
                    $( ($api, $kind) => self.$field.push(frame(entries, place, cx)), )+
                    _ => {}
                }
            }
        }
    };
}

documents! {
    OURS "Service" Named services: raw::service::Service;
    OURS "Route" Named routes: raw::route::Route;
    OURS "Rollout" Named rollouts: raw::rollout::Rollout;
    OURS "Receiver" Named receivers: raw::receiver::Receiver;
    OURS "Guard" Single guards: raw::guard::Guard;
    OURS "Gateway" Single gateways: raw::process::Gateway;
    OURS "Api" Single apis: raw::process::Api;
    OURS "Store" Single stores: raw::process::Store;
    OURS "Metrics" Single metrics: raw::process::Metrics;
    OURS "Sensing" Single sensings: raw::process::Sensing;
    OPENSLO "SLO" Named slos: raw::openslo::Slo;
    OPENSLO "SLI" Named slis: raw::openslo::Sli;
    OPENSLO "AlertPolicy" Named policies: raw::openslo::AlertPolicy;
    OPENSLO "AlertCondition" Named conditions: raw::openslo::AlertCondition;
    OPENSLO "AlertNotificationTarget" Named targets: raw::openslo::NotificationTarget;
    OPENSLO "DataSource" Named sources: raw::openslo::DataSource;
    OPENSLO "Service" Named described: raw::openslo::Service;
}

/// The keys around the `spec` of a kind.
pub(crate) fn envelope(kind: &Kind) -> Record {
    const TEXT: Shape =
        Shape::Scalar(Scalar { noun: "a text", example: OURS, json: &["string"], pattern: "", range: None });
    let field = |key, about, need, shape| Field { key, about, need, shape };
    let metadata = match kind.many {
        Many::Named => Need::Required,
        Many::Single => Need::Optional,
    };
    let mut names = Metadata::record();
    for field in names.fields.iter_mut().filter(|f| f.key == "name") {
        field.need = metadata;
    }
    // A document in which everything keeps its default needs no `spec`.
    let bare = kind.spec.fields.iter().all(|f| f.need != Need::Required) && kind.many == Many::Single;
    let spec = if bare || kind.kind == "Service" && kind.api == OPENSLO { Need::Optional } else { Need::Required };
    Record {
        about: kind.spec.about,
        fields: vec![
            field("apiVersion", "The version of this kind of document.", Need::Required, TEXT),
            field("kind", "What the document declares.", Need::Required, TEXT),
            field("metadata", "Its name.", metadata, Shape::Record(names)),
            field("spec", "What it says.", spec, Shape::Record(kind.spec.clone())),
        ],
    }
}

impl Documents {
    /// Reads the documents of one file.
    pub(crate) fn read(&mut self, nodes: &[Node], cx: &mut Context<'_>) {
        let kinds = kinds();
        for node in nodes {
            match &node.data {
                Data::Mapping(entries) => {
                    if let Some((kind, place)) = kind_of(node, entries, &kinds, cx) {
                        let frame = envelope(kind);
                        if let Some(entries) = open_record(node, &frame, cx) {
                            check_name(kind, entries, cx);
                            self.add(kind, entries, place, cx);
                        }
                    }
                }
                // `---` with nothing but comments behind it.
                Data::Null => {}
                _ => cx.error(
                    node.place,
                    format!("expected a document, found {}", node.noun()),
                    "write a mapping with `apiVersion`, `kind`, `metadata` and `spec`",
                ),
            }
        }
    }
}

/// Finds out what a document is, by `apiVersion` and `kind`.
fn kind_of<'k>(
    node: &Node,
    entries: &[(At<String>, Node)],
    kinds: &'k [Kind],
    cx: &mut Context<'_>,
) -> Option<(&'k Kind, Place)> {
    let (api, kind) = (lookup(entries, "apiVersion"), lookup(entries, "kind"));
    let text = |node: Option<&Node>| match node.map(|n| &n.data) {
        Some(Data::Plain(text) | Data::Quoted(text)) => Some(text.clone()),
        _ => None,
    };
    let (api_text, kind_text) = (text(api), text(kind));
    let Some(kind_node) = kind else {
        let all = one_of(kinds.iter().filter(|k| k.api == OURS).map(|k| k.kind));
        let slip = entries.iter().find(|(key, _)| nearest(&key.value, ["kind"]).is_some());
        let place = slip.map_or(node.place, |(key, _)| key.place);
        cx.error(place, "`kind` is missing", format!("add `kind:` with {all}, or an OpenSLO kind such as `SLO`"));
        return None;
    };
    let kind_text = kind_text.unwrap_or_default();
    let of_kind: Vec<&Kind> = kinds.iter().filter(|k| k.kind == kind_text).collect();
    if of_kind.is_empty() {
        let help = if let Some(near) = nearest(&kind_text, kinds.iter().map(|k| k.kind)) {
            format!("write `{near}`")
        } else {
            let mut names: Vec<&str> = kinds.iter().map(|k| k.kind).collect();
            names.dedup();
            format!("known kinds: {}", one_of(names))
        };
        cx.error(kind_node.place, "this kind of document is not known", help);
        return None;
    }
    if let Some(found) = of_kind.iter().find(|k| Some(k.api) == api_text.as_deref()) {
        return Some((found, kind_node.place));
    }
    let expected = one_of(of_kind.iter().map(|k| k.api));
    match api {
        Some(api) => cx.error(
            api.place,
            format!("a `{kind_text}` of this version is not understood"),
            format!("write {expected}"),
        ),
        None => cx.error(node.place, "`apiVersion` is missing", format!("add `apiVersion:` with {expected}")),
    }
    None
}

/// Reports a name that is needed and not there.
fn check_name(kind: &Kind, entries: &[(At<String>, Node)], cx: &mut Context<'_>) {
    let Some(metadata) = lookup(entries, "metadata") else { return };
    if let (Many::Named, Data::Mapping(inner)) = (kind.many, &metadata.data)
        && lookup(inner, "name").is_none()
    {
        cx.error(
            metadata.place,
            "`name` is missing",
            "add `name:` with a name that is unique among documents of this kind",
        );
    }
}

fn frame<T: Read>(entries: &[(At<String>, Node)], place: Place, cx: &mut Context<'_>) -> Document<T> {
    let metadata = lookup(entries, "metadata").and_then(|node| Metadata::read(node, cx));
    let spec = match lookup(entries, "spec") {
        Some(node) => T::read(node, cx),
        // Whether it may be left out was checked with the envelope.
        None => T::read(&Node { place, data: Data::Null }, &mut Context::new(Vec::new(), cx.env)),
    };
    let (name, display_name, annotations) = match metadata {
        Some(m) => (m.name, m.display_name, m.annotations.map(|a| a.value.0).unwrap_or_default()),
        None => (None, None, Vec::new()),
    };
    let spec_place = lookup(entries, "spec").map_or(place, |node| node.place);
    Document { name, display_name, annotations, place, spec_place, spec }
}
