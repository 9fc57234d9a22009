//! A template and data become text.

use std::{cell::Cell, collections::BTreeMap, rc::Rc};

use homeostat_model::{Labels, TimeMs};

use super::{
    DEPTH_MAX, OUTPUT_BYTES_MAX, STEPS_MAX, TemplateError, WORK_BYTES_MAX, functions,
    parse::{Branch, Node, Operand, Pipe},
    value::{Sample, Value},
};

/// Answers the queries of templates.
pub trait Ask {
    /// The elements of an answer, or why there is none.
    fn ask(&self, query: &str) -> Result<Vec<Sample>, String>;
}

/// What a template is filled in with.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// `$labels`: of the element that is told about.
    pub labels: &'a Labels,
    /// `$value`
    pub value: f64,
    /// `$externalLabels`
    pub external_labels: &'a Labels,
    /// `$externalURL`, without a slash at the end.
    pub external_url: &'a str,
    /// The instant of the evaluation.
    pub t_ms: TimeMs,
}

/// Labels as templates see them.
pub(super) fn texts(labels: &Labels) -> Value {
    Value::Texts(Rc::new(labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

/// What functions may look at beside their arguments.
pub(super) struct Surroundings<'a> {
    pub(super) data: &'a Data<'a>,
    pub(super) ask: &'a dyn Ask,
    defined: &'a BTreeMap<String, Vec<Node>>,
    steps: Cell<usize>,
    work_bytes: Cell<usize>,
    depth: Cell<usize>,
}

pub(super) fn render(
    nodes: &[Node],
    defined: &BTreeMap<String, Vec<Node>>,
    data: &Data<'_>,
    ask: &dyn Ask,
) -> Result<String, TemplateError> {
    let around =
        Surroundings { data, ask, defined, steps: Cell::new(0), work_bytes: Cell::new(0), depth: Cell::new(0) };
    let (labels, external) = (texts(data.labels), texts(data.external_labels));
    let (url, value) = (Value::text(data.external_url), Value::Float(data.value));
    let root = Value::Fields(Rc::new(BTreeMap::from([
        ("Labels", labels.clone()),
        ("ExternalLabels", external.clone()),
        ("ExternalURL", url.clone()),
        ("Value", value.clone()),
    ])));
    let variable = |name: &str, value| (name.to_owned(), value);
    let variables = vec![
        variable("", root.clone()),
        variable("labels", labels),
        variable("externalLabels", external),
        variable("externalURL", url),
        variable("value", value),
    ];
    let mut renderer = Renderer { around: &around, variables, out: String::new() };
    renderer.nodes(nodes, &root)?;
    Ok(renderer.out)
}

impl Surroundings<'_> {
    fn step(&self) -> Result<(), TemplateError> {
        self.steps.set(self.steps.get() + 1);
        if STEPS_MAX < self.steps.get() {
            return Err(TemplateError::new(format!("the template takes more than {STEPS_MAX} steps")));
        }
        Ok(())
    }

    /// Functions take or make a text of this length.
    pub(super) fn work(&self, bytes: usize) -> Result<(), TemplateError> {
        if OUTPUT_BYTES_MAX < bytes {
            return Err(TemplateError::new(format!("a text has more than {OUTPUT_BYTES_MAX} bytes")));
        }
        self.work_bytes.set(self.work_bytes.get() + bytes);
        if WORK_BYTES_MAX < self.work_bytes.get() {
            return Err(TemplateError::new(format!("the texts of the template have more than {WORK_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    /// A template by its name, over a value of its own.
    pub(super) fn call(&self, name: &str, dot: &Value) -> Result<String, TemplateError> {
        let Some(nodes) = self.defined.get(name) else {
            return Err(TemplateError::new(format!("template {name:?} not defined")));
        };
        if self.depth.get() == DEPTH_MAX {
            return Err(TemplateError::new(format!("templates call each other more than {DEPTH_MAX} levels deep")));
        }
        self.depth.set(self.depth.get() + 1);
        let mut renderer = Renderer { around: self, variables: vec![(String::new(), dot.clone())], out: String::new() };
        renderer.nodes(nodes, dot)?;
        self.depth.set(self.depth.get() - 1);
        Ok(renderer.out)
    }
}

/// How the rest of a body goes on.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Renderer<'a> {
    around: &'a Surroundings<'a>,
    variables: Vec<(String, Value)>,
    out: String,
}

impl Renderer<'_> {
    fn write(&mut self, text: &str) -> Result<(), TemplateError> {
        if OUTPUT_BYTES_MAX < self.out.len() + text.len() {
            return Err(TemplateError::new(format!("the text has more than {OUTPUT_BYTES_MAX} bytes")));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        for node in nodes {
            self.around.step()?;
            match node {
                Node::Text(text) => self.write(text)?,
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.write(&value.shown())?;
                    }
                }
                Node::Branch { kind, pipe, body, otherwise } => {
                    let known = self.variables.len();
                    let flow = self.branch(*kind, pipe, (body, otherwise), dot)?;
                    self.variables.truncate(known);
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Template(name, pipe) => {
                    let value = pipe.as_ref().map_or(Ok(Value::Nil), |pipe| self.pipe(pipe, dot))?;
                    let text = self.around.call(name, &value)?;
                    self.write(&text)?;
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::On)
    }

    fn branch(
        &mut self,
        kind: Branch,
        pipe: &Pipe,
        (body, otherwise): (&[Node], &[Node]),
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        if kind == Branch::Range {
            return self.range(pipe, (body, otherwise), dot);
        }
        let value = self.pipe(pipe, dot)?;
        match (value.is_true(), kind) {
            (true, Branch::With) => self.nodes(body, &value),
            (true, _) => self.nodes(body, dot),
            (false, _) => self.nodes(otherwise, dot),
        }
    }

    fn range(
        &mut self,
        pipe: &Pipe,
        (body, otherwise): (&[Node], &[Node]),
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let ranged = self.commands(pipe, dot)?;
        let items: Vec<(Value, Value)> = match &ranged {
            Value::Nil => Vec::new(),
            Value::List(items) => (0..).map(Value::Int).zip(items.iter().cloned()).collect(),
            Value::Texts(texts) => texts.iter().map(|(name, value)| (Value::text(name), Value::text(value))).collect(),
            Value::Int(count) => {
                (0..(*count).clamp(0, STEPS_MAX as i64)).map(|n| (Value::Int(n), Value::Int(n))).collect()
            }
            other => return Err(TemplateError::new(format!("range can't iterate over a {}", other.type_name()))),
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let known = self.variables.len();
        for (key, item) in items {
            self.around.step()?;
            let set = match pipe.variables.as_slice() {
                [] => Vec::new(),
                [only] => vec![(only.clone(), item.clone())],
                [first, second, ..] => vec![(first.clone(), key), (second.clone(), item.clone())],
            };
            for (name, value) in set {
                self.set(name, value, pipe.declares);
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, name: String, value: Value, declares: bool) {
        let known = self.variables.iter_mut().rev().find(|(known, _)| *known == name);
        match known {
            Some(variable) if !declares => variable.1 = value,
            _ => self.variables.push((name, value)),
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.set(name.clone(), value.clone(), pipe.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let mut last: Option<Value> = None;
        for command in &pipe.commands {
            self.around.step()?;
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &[Operand], piped: Option<Value>, dot: &Value) -> Result<Value, TemplateError> {
        let Some((first, rest)) = command.split_first() else { return Ok(Value::Nil) };
        let Operand::Function(name) = first else {
            if !rest.is_empty() || piped.is_some() {
                return Err(TemplateError::new("can't give argument to a value that is no function"));
            }
            return self.operand(first, dot);
        };
        // `and` and `or` look only at as many arguments as they need.
        if let Some(wanted) = functions::ends_at(name) {
            let mut value = Value::Nil;
            for operand in rest {
                value = self.operand(operand, dot)?;
                if value.is_true() == wanted {
                    return Ok(value);
                }
            }
            return match (piped, rest.is_empty()) {
                (Some(piped), _) => Ok(piped),
                (None, false) => Ok(value),
                (None, true) => {
                    Err(TemplateError::new(format!("wrong number of args for {name}: want at least 1 got 0")))
                }
            };
        }
        let mut args = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(piped);
        functions::call(name, &args, self.around)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Bool(value) => Ok(Value::Bool(*value)),
            Operand::Int(value) => Ok(Value::Int(*value)),
            Operand::Float(value) => Ok(Value::Float(*value)),
            Operand::Text(text) => Ok(Value::text(text)),
            Operand::Fields(names) => fields(dot.clone(), names),
            Operand::Variable(name, names) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                // The parser knows all variables; one may be unset only within a called template.
                let value = found.map_or(Value::Nil, |(_, value)| value.clone());
                fields(value, names)
            }
            Operand::Function(name) => functions::call(name, &[], self.around),
            Operand::Pipe(pipe, names) => {
                let value = self.pipe(pipe, dot)?;
                fields(value, names)
            }
        }
    }
}

fn fields(value: Value, names: &[String]) -> Result<Value, TemplateError> {
    names.iter().try_fold(value, |value, name| field(&value, name))
}

fn field(value: &Value, name: &str) -> Result<Value, TemplateError> {
    let unknown = || TemplateError::new(format!("can't evaluate field {name} in type {}", value.type_name()));
    match value {
        Value::Texts(texts) => Ok(Value::text(texts.get(name).map_or("", String::as_str))),
        Value::Fields(fields) => fields.get(name).cloned().ok_or_else(unknown),
        Value::Sample(sample) => match name {
            "Labels" => Ok(Value::Texts(Rc::new(sample.labels.clone()))),
            "Value" => Ok(Value::Float(sample.value)),
            _ => Err(unknown()),
        },
        Value::Nil => Err(TemplateError::new(format!("nil data; no entry for key {name:?}"))),
        _ => Err(unknown()),
    }
}
