//! What describes the sender: resource and scope, as labels.

use std::borrow::Cow;

use super::{
    OtlpOptions,
    name::label_name,
    value::{Attribute, ValueError, read_attribute},
};
use crate::{
    intake::Fault,
    protobuf::{ProtobufError, Reader},
};

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

/// Labels with each name once, in no order.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelList<'a>(pub(super) Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> LabelList<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Cow<'a, str>> {
        self.0.iter_mut().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Sets a label, over any that has the name.
    pub(super) fn set(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        match self.slot(&name) {
            Some(slot) => *slot = value,
            None => self.0.push((name, value)),
        }
    }

    /// Sets a label unless there is one of the name that has a value.
    fn set_missing(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        match self.slot(&name) {
            Some(slot) if slot.is_empty() => *slot = value,
            Some(_) => {}
            None => self.0.push((name, value)),
        }
    }

    /// Adds a label; of two keys that are spelled the same, both values are kept.
    fn join(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        match self.slot(&name) {
            Some(slot) if slot.is_empty() => *slot = value,
            Some(slot) => *slot = format!("{slot};{value}").into(),
            None => self.0.push((name, value)),
        }
    }
}

/// A resource: what its series have in common.
#[derive(Debug, Default)]
pub(super) struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
    job: Option<String>,
    instance: Option<Cow<'a, str>>,
    promoted: LabelList<'a>,
}

impl<'a> Resource<'a> {
    /// Reads a `Resource`.
    pub(super) fn read(mut message: Reader<'a>, options: &OtlpOptions) -> Result<Self, ValueError> {
        let mut resource = Self::default();
        while let Some(field) = message.field()? {
            if field.number == 1 {
                push_attribute(&mut resource.attributes, field.message()?, options)?;
            }
        }
        let name = resource.attribute(SERVICE_NAME).map(Cow::into_owned);
        let namespace = resource.attribute(SERVICE_NAMESPACE);
        resource.job = name.map(|name| match namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        });
        resource.instance = resource.attribute(SERVICE_INSTANCE);
        let mut sorted: Vec<_> = resource.attributes.iter().filter(|(key, _)| options.promote.includes(key)).collect();
        sorted.sort_by_key(|(key, _)| *key);
        for (key, value) in sorted {
            resource.promoted.set_missing(label_of(key, options)?, value.clone());
        }
        Ok(resource)
    }

    fn attribute(&self, key: &str) -> Option<Cow<'a, str>> {
        self.attributes.iter().find(|(k, _)| *k == key).map(|(_, value)| value.clone())
    }

    /// Labels of `target_info`; `None` when it would say nothing, or nobody knows of whom.
    pub(super) fn target_info(&self, options: &OtlpOptions) -> Result<Option<LabelList<'a>>, Fault> {
        let identifying = |key: &str| [SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE].contains(&key);
        let says_more = self.attributes.iter().any(|(key, _)| !identifying(key));
        let known = [self.job.as_deref(), self.instance.as_deref()].into_iter().flatten().any(|id| !id.is_empty());
        if !says_more || !known {
            return Ok(None);
        }
        let kept = self.attributes.iter().filter(|(key, _)| options.keep_identifying || !identifying(key));
        let mut labels = own_labels(kept.cloned().collect(), options)?;
        self.put_identity(&mut labels);
        Ok(Some(labels))
    }

    fn put_identity(&self, labels: &mut LabelList<'a>) {
        if let Some(job) = &self.job {
            labels.set("job".into(), job.clone().into());
        }
        if let Some(instance) = &self.instance {
            labels.set("instance".into(), instance.clone());
        }
    }

    /// Labels of a point: its own, then those of resource and scope.
    pub(super) fn point_labels(
        &self,
        attributes: &[Reader<'a>],
        scope: &LabelList<'a>,
        options: &OtlpOptions,
    ) -> Result<LabelList<'a>, ValueError> {
        let mut own = Vec::with_capacity(attributes.len());
        for attribute in attributes {
            push_attribute(&mut own, *attribute, options)?;
        }
        let mut labels = own_labels(own, options).map_err(ValueError::Fault)?;
        for (name, value) in &self.promoted.0 {
            labels.set_missing(name.clone(), value.clone());
        }
        self.put_identity(&mut labels);
        for (name, value) in &scope.0 {
            labels.set(name.clone(), value.clone());
        }
        Ok(labels)
    }
}

fn push_attribute<'a>(
    attributes: &mut Vec<Attribute<'a>>,
    message: Reader<'a>,
    options: &OtlpOptions,
) -> Result<(), ValueError> {
    let (index, limit) = (attributes.len(), options.limits.labels_max);
    if limit <= index {
        return Err(ValueError::Fault(Fault::TooManyLabels { limit }));
    }
    attributes.push(read_attribute(message, index)?);
    Ok(())
}

/// Attributes as labels, in the order of their keys. The metric's name is not theirs to set.
fn own_labels<'a>(mut attributes: Vec<Attribute<'a>>, options: &OtlpOptions) -> Result<LabelList<'a>, Fault> {
    attributes.sort_by_key(|(key, _)| *key);
    let mut labels = LabelList(Vec::with_capacity(attributes.len() + 8));
    for (key, value) in attributes.into_iter().filter(|(key, _)| *key != homeostat_model::labels::METRIC_NAME) {
        labels.join(label_of(key, options)?, value);
    }
    Ok(labels)
}

fn label_of<'a>(key: &'a str, options: &OtlpOptions) -> Result<Cow<'a, str>, Fault> {
    label_name(key, options.strategy, options.label_naming).ok_or_else(|| Fault::Name { name: key.to_owned() })
}

impl From<Fault> for ValueError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Labels of an `InstrumentationScope`; none unless they are wanted.
pub(super) fn scope_labels<'a>(
    scope: Option<Reader<'a>>,
    schema_url: &'a [u8],
    options: &OtlpOptions,
) -> Result<LabelList<'a>, ValueError> {
    let mut labels = LabelList::default();
    if !options.promote_scope {
        return Ok(labels);
    }
    let (mut name, mut version) = (&[][..], &[][..]);
    let mut attributes = Vec::new();
    if let Some(mut fields) = scope {
        while let Some(field) = fields.field()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => version = field.bytes()?,
                3 => push_attribute(&mut attributes, field.message()?, options)?,
                _ => {}
            }
        }
    }
    for (key, value) in attributes {
        let key = format!("otel_scope_{key}");
        let label = label_of(&key, options)?.into_owned();
        labels.set(label.into(), value);
    }
    let texts = [("otel_scope_name", name), ("otel_scope_version", version), ("otel_scope_schema_url", schema_url)];
    for (index, (label, text)) in texts.into_iter().enumerate() {
        let text = str::from_utf8(text).map_err(|_| Fault::Encoding { index })?;
        labels.set(label.into(), text.into());
    }
    Ok(labels)
}

/// The fields of a message that come once, whatever their order on the wire.
pub(super) fn single_fields<const N: usize>(
    mut message: Reader<'_>,
    numbers: [u32; N],
) -> Result<[Option<Reader<'_>>; N], ProtobufError> {
    let mut found = [None; N];
    while let Some(field) = message.field()? {
        if let Some(slot) = numbers.iter().position(|number| *number == field.number).and_then(|at| found.get_mut(at)) {
            *slot = Some(field.message()?);
        }
    }
    Ok(found)
}
