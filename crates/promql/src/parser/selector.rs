//! Selectors and lists of labels.

use super::{
    join,
    tokens::{Parsed, Parser},
};
use crate::{
    ast::{BinaryOp, ByteSpan, Extend, Shift, VectorSelector},
    lexer::{Keyword, TokenKind},
    matcher::{Matcher, MatcherOp},
    quote::quote,
};
use homeostat_model::labels::METRIC_NAME;

impl Parser<'_> {
    /// Returns true when the next token may begin a selector: a brace, a name, or a keyword that is also a name.
    pub(super) fn starts_selector(&self) -> bool {
        match self.peek() {
            TokenKind::LeftBrace
            | TokenKind::Identifier
            | TokenKind::MetricIdentifier
            | TokenKind::Aggregate(_)
            | TokenKind::Op(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => true,
            TokenKind::Keyword(keyword) => !matches!(
                keyword,
                Keyword::Bool
                    | Keyword::On
                    | Keyword::Ignoring
                    | Keyword::GroupLeft
                    | Keyword::GroupRight
                    | Keyword::Fill
                    | Keyword::FillLeft
                    | Keyword::FillRight
            ),
            _ => false,
        }
    }

    /// A name, braces with matchers, or both.
    pub(super) fn vector_selector(&mut self) -> Parsed<(VectorSelector, ByteSpan)> {
        let start = self.peek_span();
        let mut name = None;
        if *self.peek() != TokenKind::LeftBrace {
            name = Some(self.take()).map(|span| self.word(span));
        }
        let mut matchers = Vec::new();
        if *self.peek() == TokenKind::LeftBrace {
            matchers = self.matchers()?;
        }
        matchers.extend(name.map(|name| Matcher::equal(METRIC_NAME, name)));
        let (shift, extend) = (Shift::default(), Extend::None);
        Ok((VectorSelector { matchers, named: name.is_some(), shift, extend }, join(start, self.last_span())))
    }

    /// `{a="b", …}`, also empty and with a comma at the end.
    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        self.take();
        let mut matchers = Vec::new();
        while self.take_if(&TokenKind::RightBrace).is_none() {
            matchers.extend(self.matcher()?);
            if self.take_if(&TokenKind::Comma).is_none() && *self.peek() != TokenKind::RightBrace {
                return Err(self.unexpected("label matching", "\",\" or \"}\""));
            }
        }
        Ok(matchers)
    }

    /// One matcher; none when its regular expression cannot be used.
    fn matcher(&mut self) -> Parsed<Option<Matcher>> {
        let start = self.peek_span();
        let (name, quoted) = match self.peek() {
            TokenKind::Identifier => (self.take(), false),
            TokenKind::Quoted => (self.peek_span(), true),
            _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
        };
        let name = if quoted { self.quoted_text()? } else { self.word(name).to_owned() };
        let op = match self.peek() {
            TokenKind::Equal => MatcherOp::Equal,
            TokenKind::Op(BinaryOp::Ne) => MatcherOp::NotEqual,
            TokenKind::EqualRegex => MatcherOp::Regex,
            TokenKind::NotRegex => MatcherOp::NotRegex,
            // A quoted text alone is the metric's name.
            _ if quoted => return Ok(Some(Matcher::equal(METRIC_NAME, &name))),
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.take();
        if *self.peek() != TokenKind::Quoted {
            return Err(self.unexpected("label matching", "string"));
        }
        let value = self.quoted_text()?;
        match Matcher::new(&name, op, &value) {
            Ok(matcher) => Ok(Some(matcher)),
            Err(error) => {
                self.error(join(start, self.last_span()), error.to_string());
                Ok(None)
            }
        }
    }

    /// `(a, "b")` behind `by`, `on` and the like; also empty and with a comma at the end.
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        let mut labels = Vec::new();
        if self.take_if(&TokenKind::LeftParen).is_none() {
            return Err(self.unexpected("grouping opts", "\"(\""));
        }
        while self.take_if(&TokenKind::RightParen).is_none() {
            labels.push(self.grouping_label()?);
            if self.take_if(&TokenKind::Comma).is_none() && *self.peek() != TokenKind::RightParen {
                return Err(self.unexpected("grouping opts", "\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    /// A label's name: a word, even a keyword, or a quoted text.
    fn grouping_label(&mut self) -> Parsed<String> {
        match self.peek() {
            TokenKind::Quoted => {
                let label = self.quoted_text()?;
                if label.is_empty() || label.contains(char::REPLACEMENT_CHARACTER) {
                    self.error(self.last_span(), format!("invalid label name for grouping: {}", quote(&label)));
                }
                Ok(label)
            }
            TokenKind::Identifier
            | TokenKind::MetricIdentifier
            | TokenKind::Aggregate(_)
            | TokenKind::Keyword(_)
            | TokenKind::Op(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2) => {
                let span = self.take();
                Ok(self.word(span).to_owned())
            }
            _ => Err(self.unexpected("grouping opts", "label")),
        }
    }
}
