//! YAML text as a tree in which every node knows its place.
//!
//! Built from the parser's events instead of a ready-made loader, for three reasons: all duplicate keys are seen, not
//! only the first; plain and quoted scalars stay apart (`5%` is text, an empty value is "nothing"); and the growth
//! by aliases is bounded before it happens. Decision 0060.
//!
//! Invariant: never more than [`NODES_MAX`] nodes a file nor more than [`DEPTH_MAX`] levels, so that every later
//! recursion over the tree is safe.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::{
    problem::Problem,
    source::{At, FILE_BYTES_MAX, Place, too_large},
};

/// Levels of nesting at most. The deepest document we know (an inline alert condition in an SLO) has 9.
pub const DEPTH_MAX: usize = 32;

/// Nodes of one file at most, copies made by aliases included. The largest legal file of 1 MiB with four bytes a node
/// has 262,144; a node takes about 100 bytes, so a file is bounded by about 26 MB.
pub const NODES_MAX: usize = FILE_BYTES_MAX / 4;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Where it is written.
    pub place: Place,
    /// What it is.
    pub data: Data,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    /// Nothing was written (or `null`, `~`).
    Null,
    /// A text without quotes: may be a number, a truth value, a duration, or just a text.
    Plain(String),
    /// A text in quotes or a block: always a text.
    Quoted(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file; keys are unique.
    Mapping(Vec<(At<String>, Node)>),
}

impl Node {
    /// What it is, for people.
    pub(crate) const fn noun(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Plain(_) => "a plain value",
            Data::Quoted(_) => "a text in quotes",
            Data::Sequence(_) => "a list",
            Data::Mapping(_) => "a mapping of keys to values",
        }
    }

    fn count(&self) -> usize {
        match &self.data {
            Data::Sequence(items) => items.iter().map(Self::count).sum::<usize>() + 1,
            Data::Mapping(entries) => entries.iter().map(|(_, value)| value.count() + 1).sum::<usize>() + 1,
            _ => 1,
        }
    }

    fn depth(&self) -> usize {
        match &self.data {
            Data::Sequence(items) => items.iter().map(Self::depth).max().unwrap_or(0) + 1,
            Data::Mapping(entries) => entries.iter().map(|(_, value)| value.depth()).max().unwrap_or(0) + 1,
            _ => 1,
        }
    }
}

/// The documents of one text.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    /// In the order of the text.
    pub documents: Vec<Node>,
    /// Whether that is all of them: behind a syntax error or a limit, the rest of the text is lost.
    pub complete: bool,
}

/// Reads all documents of one text.
pub(crate) fn parse(name: &str, text: &str, file: u16, problems: &mut Vec<Problem>) -> Parsed {
    if FILE_BYTES_MAX < text.len() {
        problems.push(too_large(name));
        return Parsed { documents: Vec::new(), complete: false };
    }
    let mut complete = true;
    let mut builder = Builder::new(text, file, problems);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let step = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(builder.syntax(&error)),
        };
        if let Err(problem) = step {
            builder.problems.push(problem);
            complete = false;
            break;
        }
    }
    Parsed { documents: builder.documents, complete }
}

/// A collection that is still open.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value; mappings only.
    key: Option<At<String>>,
    /// Keys so far with their lines; mappings only.
    seen: BTreeMap<String, u32>,
}

struct Builder<'a> {
    file: u16,
    lines: Vec<u32>,
    documents: Vec<Node>,
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn new(text: &str, file: u16, problems: &'a mut Vec<Problem>) -> Self {
        let lines = text.split('\n').map(|line| line.trim_end().chars().count() as u32).collect();
        Self { file, lines, documents: Vec::new(), stack: Vec::new(), anchors: BTreeMap::new(), nodes: 0, problems }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let place = self.place(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let data = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Data::Null,
                    _ if plain => Data::Plain(text.into_owned()),
                    _ => Data::Quoted(text.into_owned()),
                };
                if tag.is_some_and(|tag| !(tag.is_yaml_core_schema() && tag.suffix == "str")) {
                    self.refuse_tag(place);
                }
                self.put(Node { place, data }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Node { place, data: Data::Sequence(Vec::new()) }, anchor, tag.is_some())
            }
            Event::MappingStart(anchor, tag) => {
                self.open(Node { place, data: Data::Mapping(Vec::new()) }, anchor, tag.is_some())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(open) => self.put(open.node, open.anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::DocumentEnd => {
                // Anchors hold within their document only.
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
        }
    }

    fn open(&mut self, node: Node, anchor: usize, tagged: bool) -> Result<(), Problem> {
        if tagged {
            self.refuse_tag(node.place);
        }
        if DEPTH_MAX <= self.stack.len() {
            return Err(Problem::error(format!("more than {DEPTH_MAX} levels of nesting")).at(node.place));
        }
        self.stack.push(Open { node, anchor, key: None, seen: BTreeMap::new() });
        Ok(())
    }

    /// Gives a finished node to the collection that is open, or to the documents.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.nodes += 1;
        if NODES_MAX < self.nodes {
            return Err(too_many_nodes(node.place));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
            // The copy counts: anchors within anchors could otherwise multiply.
            self.nodes = self.nodes.saturating_add(node.count());
        }
        let Some(open) = self.stack.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut open.node.data, open.key.take()) {
            (Data::Mapping(_), Some(key)) if key.value == NO_KEY => {}
            (Data::Sequence(items), _) => items.push(node),
            (Data::Mapping(entries), Some(key)) => {
                if let Some(line) = open.seen.get(&key.value) {
                    self.problems.push(
                        Problem::error(format!("the key `{}` stands here twice, first on line {line}", key.value))
                            .help("keep one of the two")
                            .at(key.place),
                    );
                } else {
                    open.seen.insert(key.value.clone(), key.place.line);
                    entries.push((key, node));
                }
            }
            (Data::Mapping(_), None) => open.key = Some(key_of(node, self.problems)),
            _ => {}
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Problem::error("an alias within its own anchor never ends")
                .help("write the value out instead of referring to it")
                .at(place));
        };
        self.nodes = self.nodes.saturating_add(node.count());
        if NODES_MAX < self.nodes {
            return Err(too_many_nodes(place));
        }
        if DEPTH_MAX < self.stack.len() + node.depth() {
            return Err(Problem::error(format!("more than {DEPTH_MAX} levels of nesting")).at(place));
        }
        let node = node.clone();
        self.put(node, 0)
    }

    fn refuse_tag(&mut self, place: Place) {
        self.problems
            .push(Problem::error("tags are not understood here").help("write the value without its `!tag`").at(place));
    }

    fn place(&self, span: Span) -> Place {
        let start = self.point(span.start);
        let rest = self.width_from(start);
        let width = span.end.index().saturating_sub(span.start.index()) as u32;
        let one_line = span.end.line() == span.start.line();
        Place { width: if one_line { width.clamp(1, rest) } else { rest }, ..start }
    }

    fn point(&self, marker: Marker) -> Place {
        // The parser counts lines from 1 and columns from 0; at the very end it may stand behind the last line.
        let line = marker.line().clamp(1, self.lines.len().max(1)) as u32;
        Place { file: self.file, line, column: marker.col() as u32 + 1, width: 1 }
    }

    /// Characters from a place to the end of its line, at least 1.
    fn width_from(&self, place: Place) -> u32 {
        let line = self.lines.get(place.line as usize - 1).copied().unwrap_or(0);
        (line + 1).saturating_sub(place.column).max(1)
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        Problem::error(format!("this is not YAML: {}", error.info()))
            .help("check indentation, colons, quotes and brackets here and on the lines above")
            .at(self.point(*error.marker()))
    }
}

/// Stands for a key that is no text, so that its value is dropped. No YAML text contains this character.
const NO_KEY: &str = "\0";

fn key_of(node: Node, problems: &mut Vec<Problem>) -> At<String> {
    let place = node.place;
    match node.data {
        Data::Plain(text) | Data::Quoted(text) => At::new(text, place),
        Data::Null | Data::Sequence(_) | Data::Mapping(_) => {
            problems.push(
                Problem::error("a key must be a text")
                    .help("if this was meant to be a text, put it in quotes")
                    .at(place),
            );
            At::new(NO_KEY.to_owned(), place)
        }
    }
}

fn too_many_nodes(place: Place) -> Problem {
    Problem::error(format!("more than {NODES_MAX} values in one file, those repeated by aliases included"))
        .help("divide it into several files of one directory, or use fewer aliases")
        .at(place)
}

#[cfg(test)]
#[expect(clippy::format_push_string, reason = "tests may allocate")]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Shows the tree as `line:column width value`, then the problems.
    fn check(text: &str, expected: &Expect) {
        let mut problems = Vec::new();
        let documents = parse("t", text, 0, &mut problems);
        let mut shown = String::new();
        for document in &documents.documents {
            show(document, 0, &mut shown);
        }
        for problem in problems {
            shown += &format!("{}\n", problem.message);
        }
        expected.assert_eq(&shown);
    }

    fn show(node: &Node, level: usize, out: &mut String) {
        let Place { line, column, width, .. } = node.place;
        let pad = " ".repeat(level);
        match &node.data {
            Data::Sequence(items) => {
                *out += &format!("{pad}{line}:{column} {width} list\n");
                for item in items {
                    show(item, level + 1, out);
                }
            }
            Data::Mapping(entries) => {
                *out += &format!("{pad}{line}:{column} {width} mapping\n");
                for (key, value) in entries {
                    *out += &format!("{pad} {}:{} {} =\n", key.place.line, key.place.column, key.value);
                    show(value, level + 2, out);
                }
            }
            data => *out += &format!("{pad}{line}:{column} {width} {data:?}\n"),
        }
    }

    #[test]
    fn every_node_knows_its_place() {
        check(
            "a: 5%\nb: [x, 'y z']\nc:\n---\n- {k: v}\n",
            &expect![[r#"
            1:1 1 mapping
             1:1 a =
              1:4 2 Plain("5%")
             2:1 b =
              2:4 1 list
               2:5 1 Plain("x")
               2:8 5 Quoted("y z")
             3:1 c =
              3:2 1 Null
            5:1 1 list
             5:3 1 mapping
              5:4 k =
               5:7 1 Plain("v")
        "#]],
        );
    }

    #[test]
    fn all_duplicates_tags_and_odd_keys_are_reported() {
        check(
            "a: 1\na: 2\nb: !x 3\nb: 4\n? [k]\n: v\n",
            &expect![[r#"
                1:1 1 mapping
                 1:1 a =
                  1:4 1 Plain("1")
                 3:1 b =
                  3:4 4 Quoted("3")
                the key `a` stands here twice, first on line 1
                tags are not understood here
                the key `b` stands here twice, first on line 3
                a key must be a text
            "#]],
        );
    }

    #[test]
    fn aliases_are_copied_and_bombs_are_defused() {
        check(
            "a: &x [1]\nb: *x\n",
            &expect![[r#"
            1:1 1 mapping
             1:1 a =
              1:4 4 list
               1:8 1 Plain("1")
             2:1 b =
              1:4 4 list
               1:8 1 Plain("1")
        "#]],
        );
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
        }
        let mut problems = Vec::new();
        parse("t", &bomb, 0, &mut problems);
        assert!(problems[0].message.starts_with("more than 262144 values"), "{problems:?}");
        check(
            "a: &a [*a]\n",
            &expect![[r"
            an alias within its own anchor never ends
        "]],
        );
    }

    #[test]
    fn depth_is_bounded_in_flow_and_block_style_and_through_aliases() {
        let blocks = (0..1_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<Vec<_>>().concat();
        let stairs = (0..60).map(|n| format!("a{0}: &x{0} [*x{n}]\n", n + 1)).collect::<Vec<_>>().concat();
        for text in ["[".repeat(200), blocks, "- ".repeat(1_000), format!("a0: &x0 1\n{stairs}")] {
            let mut problems = Vec::new();
            parse("t", &text, 0, &mut problems);
            assert_eq!(problems[0].message, "more than 32 levels of nesting");
        }
    }
}
