//! Pieces to a tree.

use std::collections::BTreeMap;

use super::{
    DEPTH_MAX, TemplateError, functions,
    lex::{Piece, Token},
};

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Written as it is.
    Text(String),
    /// Its value is written, unless it only sets a variable.
    Action(Pipe),
    /// `if`, `with` or `range`.
    Branch {
        /// Which.
        kind: Branch,
        /// What is looked at.
        pipe: Pipe,
        /// When it is not empty.
        body: Vec<Node>,
        /// When it is.
        otherwise: Vec<Node>,
    },
    /// `template "name" pipeline`
    Template(String, Option<Pipe>),
    /// `break`
    Break,
    /// `continue`
    Continue,
}

/// Kinds of [`Node::Branch`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Branch {
    /// `if`
    If,
    /// `with`: the dot becomes the value.
    With,
    /// `range`: for each item.
    Range,
}

/// Commands, each of which hands its value to the next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipe {
    /// Variables that it sets.
    pub(super) variables: Vec<String>,
    /// They are new.
    pub(super) declares: bool,
    /// In order.
    pub(super) commands: Vec<Vec<Operand>>,
}

/// A part of a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// `.A.B` of the dot.
    Fields(Vec<String>),
    /// `$a.B`
    Variable(String, Vec<String>),
    /// A function.
    Function(&'static str),
    /// `( … ).A`
    Pipe(Box<Pipe>, Vec<String>),
}

type Body = Vec<Node>;
/// Bodies by name.
type Defined = BTreeMap<String, Body>;

/// Variables that every template of a rule has.
pub(super) const KNOWN: [&str; 5] = ["", "labels", "externalLabels", "externalURL", "value"];

pub(super) fn parse(pieces: Vec<Piece>) -> Result<(Body, Defined), TemplateError> {
    let mut parser = Parser {
        pieces: pieces.into_iter(),
        defined: Defined::new(),
        variables: KNOWN.map(str::to_owned).to_vec(),
        ranges: 0,
        depth: 0,
    };
    let (body, end) = parser.body()?;
    match end {
        End::Text => Ok((body, parser.defined)),
        End::Finished => Err(TemplateError::new("unexpected {{end}}")),
        End::Else(_) => Err(TemplateError::new("unexpected {{else}}")),
    }
}

/// What a body ends with.
enum End {
    Text,
    /// With `end`.
    Finished,
    /// With what follows the word.
    Else(Vec<Token>),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    defined: Defined,
    variables: Vec<String>,
    ranges: usize,
    depth: usize,
}

impl Parser {
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, TemplateError>) -> Result<T, TemplateError> {
        if self.depth == DEPTH_MAX {
            return Err(TemplateError::new(format!("more than {DEPTH_MAX} levels of nesting")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn body(&mut self) -> Result<(Body, End), TemplateError> {
        let mut body = Body::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    body.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let Some(Token::Name(word)) = tokens.first() else {
                body.push(Node::Action(self.pipe(tokens, "command")?));
                continue;
            };
            let word = word.clone();
            let rest = || tokens.iter().skip(1).cloned().collect::<Vec<_>>();
            match word.as_str() {
                "end" if tokens.len() == 1 => return Ok((body, End::Finished)),
                "else" => return Ok((body, End::Else(rest()))),
                "if" => body.push(self.branch(Branch::If, rest())?),
                "with" => body.push(self.branch(Branch::With, rest())?),
                "range" => body.push(self.branch(Branch::Range, rest())?),
                "break" | "continue" if 0 < self.ranges && tokens.len() == 1 => {
                    body.push(if word == "break" { Node::Break } else { Node::Continue });
                }
                "break" | "continue" => {
                    return Err(TemplateError::new(format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                "define" => self.define(&rest())?,
                "template" => body.push(self.called(rest())?),
                _ => body.push(Node::Action(self.pipe(tokens, "command")?)),
            }
        }
        Ok((body, End::Text))
    }

    fn branch(&mut self, kind: Branch, tokens: Vec<Token>) -> Result<Node, TemplateError> {
        self.deeper(|parser| {
            let known = parser.variables.len();
            let word = match kind {
                Branch::If => "if",
                Branch::With => "with",
                Branch::Range => "range",
            };
            let pipe = parser.pipe(tokens, word)?;
            parser.ranges += usize::from(kind == Branch::Range);
            let parsed = parser.body();
            parser.ranges -= usize::from(kind == Branch::Range);
            let (body, end) = parsed?;
            let otherwise = match end {
                End::Text => return Err(TemplateError::new("unexpected EOF: an {{end}} is missing")),
                End::Finished => Body::new(),
                End::Else(rest) => parser.otherwise(kind, rest)?,
            };
            parser.variables.truncate(known);
            Ok(Node::Branch { kind, pipe, body, otherwise })
        })
    }

    fn otherwise(&mut self, kind: Branch, rest: Vec<Token>) -> Result<Body, TemplateError> {
        match (rest.first(), kind) {
            (None, _) => match self.body()? {
                (body, End::Finished) => Ok(body),
                (_, End::Else(_)) => Err(TemplateError::new("expected end; found {{else}}")),
                (_, End::Text) => Err(TemplateError::new("unexpected EOF: an {{end}} is missing")),
            },
            // `else if` shares the `end` of its `if`.
            (Some(Token::Name(word)), Branch::If) if word == "if" => {
                Ok(vec![self.branch(Branch::If, rest.into_iter().skip(1).collect())?])
            }
            (Some(Token::Name(word)), Branch::With) if word == "with" => {
                Ok(vec![self.branch(Branch::With, rest.into_iter().skip(1).collect())?])
            }
            _ => Err(TemplateError::new("unexpected words in {{else}}")),
        }
    }

    fn define(&mut self, tokens: &[Token]) -> Result<(), TemplateError> {
        let [Token::Text(name)] = tokens else {
            return Err(TemplateError::new("{{define}} takes one name in quotes"));
        };
        if 0 < self.depth {
            return Err(TemplateError::new("unexpected {{define}} within another action"));
        }
        let variables = std::mem::replace(&mut self.variables, vec![String::new()]);
        let body = self.deeper(Self::body)?;
        self.variables = variables;
        match body {
            (body, End::Finished) => {
                self.defined.insert(name.clone(), body);
                Ok(())
            }
            _ => Err(TemplateError::new("unexpected EOF: an {{end}} of a {{define}} is missing")),
        }
    }

    fn called(&mut self, tokens: Vec<Token>) -> Result<Node, TemplateError> {
        let mut tokens = tokens.into_iter();
        let Some(Token::Text(name)) = tokens.next() else {
            return Err(TemplateError::new("{{template}} takes a name in quotes"));
        };
        let rest: Vec<Token> = tokens.collect();
        let pipe = if rest.is_empty() { None } else { Some(self.pipe(rest, "template")?) };
        Ok(Node::Template(name, pipe))
    }

    /// All words as a pipeline.
    fn pipe(&mut self, tokens: Vec<Token>, context: &'static str) -> Result<Pipe, TemplateError> {
        let mut words = tokens.into_iter().peekable();
        let (variables, declares) = Self::variables(&mut words, context)?;
        let commands = self.commands(&mut words, context)?;
        if words.next().is_some() {
            return Err(TemplateError::new(format!("unexpected right paren in {context}")));
        }
        for name in &variables {
            if declares {
                self.variables.push(name.clone());
            } else if !self.variables.contains(name) {
                return Err(TemplateError::new(format!("undefined variable {:?}", format!("${name}"))));
            }
        }
        Ok(Pipe { variables, declares, commands })
    }

    /// `$a :=`, `$a =`, and in a range `$i, $a :=`.
    fn variables(words: &mut Words, context: &str) -> Result<(Vec<String>, bool), TemplateError> {
        let mut ahead = words.clone();
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = ahead.next() {
            names.push(name);
            match ahead.next() {
                Some(Token::Comma) if context == "range" && names.len() == 1 => {}
                Some(found @ (Token::Declare | Token::Assign)) => {
                    *words = ahead;
                    return Ok((names, found == Token::Declare));
                }
                Some(Token::Comma) => return Err(TemplateError::new(format!("too many declarations in {context}"))),
                _ => break,
            }
        }
        Ok((Vec::new(), false))
    }

    fn commands(&mut self, words: &mut Words, context: &str) -> Result<Vec<Vec<Operand>>, TemplateError> {
        let mut commands = Vec::new();
        loop {
            let mut command = Vec::new();
            while !matches!(words.peek(), None | Some(Token::Pipe | Token::Close)) {
                command.push(self.operand(words)?);
            }
            if command.is_empty() {
                return Err(TemplateError::new(format!("missing value for {context}")));
            }
            let constant = matches!(
                command.first(),
                Some(
                    Operand::Nil
                        | Operand::Bool(_)
                        | Operand::Int(_)
                        | Operand::Float(_)
                        | Operand::Text(_)
                        | Operand::Dot
                )
            );
            if constant && (1 < command.len() || !commands.is_empty()) {
                return Err(TemplateError::new("a value that is no function takes no arguments"));
            }
            commands.push(command);
            match words.next_if_eq(&Token::Pipe) {
                Some(_) => {}
                None => return Ok(commands),
            }
        }
    }

    fn operand(&mut self, words: &mut Words) -> Result<Operand, TemplateError> {
        let operand = match words.next() {
            Some(Token::Dot) => Operand::Dot,
            Some(Token::Text(text)) => Operand::Text(text),
            Some(Token::Int(value)) => Operand::Int(value),
            Some(Token::Float(value)) => Operand::Float(value),
            Some(Token::Field { name, .. }) => {
                let mut fields = vec![name];
                fields.extend(glued(words));
                Operand::Fields(fields)
            }
            Some(Token::Variable(name)) => {
                if !self.variables.contains(&name) {
                    return Err(TemplateError::new(format!("undefined variable {:?}", format!("${name}"))));
                }
                Operand::Variable(name, glued(words))
            }
            Some(Token::Name(name)) => match name.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "nil" => Operand::Nil,
                _ => match functions::find(&name) {
                    Some(function) => Operand::Function(function),
                    None => return Err(TemplateError::new(format!("function {name:?} not defined"))),
                },
            },
            Some(Token::Open) => {
                let commands = self.deeper(|parser| parser.commands(words, "parenthesized pipeline"))?;
                if words.next() != Some(Token::Close) {
                    return Err(TemplateError::new("unclosed left paren"));
                }
                let pipe = Pipe { variables: Vec::new(), declares: false, commands };
                Operand::Pipe(Box::new(pipe), glued(words))
            }
            found => return Err(TemplateError::new(format!("unexpected {found:?} in operand"))),
        };
        if matches!(words.peek(), Some(Token::Field { glued: true, .. })) {
            return Err(TemplateError::new("a field of a value that has none"));
        }
        Ok(operand)
    }
}

type Words = std::iter::Peekable<std::vec::IntoIter<Token>>;

/// `.A.B` directly behind a value.
fn glued(words: &mut Words) -> Vec<String> {
    let mut fields = Vec::new();
    while let Some(Token::Field { name, .. }) = words.next_if(|word| matches!(word, Token::Field { glued: true, .. })) {
        fields.push(name);
    }
    fields
}
