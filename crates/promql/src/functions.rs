//! The functions of the language: names, arguments and results. What they compute is in `eval`.

use crate::ast::ValueType;

/// A function of the language.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// As written in a query.
    pub name: &'static str,
    /// Types of its arguments, optional ones at the end.
    pub args: &'static [ValueType],
    /// How many of the arguments at the end may be missing; the last may be repeated when [`Arity::Repeated`].
    pub arity: Arity,
    /// Type of its result.
    pub returns: ValueType,
    /// Only with the flag for experimental functions.
    pub experimental: bool,
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// All of them.
    Exact,
    /// So many at the end may be missing.
    Optional(usize),
    /// The last one may stand any number of times, also never.
    Repeated,
}
