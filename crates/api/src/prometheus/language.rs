//! Queries as text: parsing them and their selectors, `parse_query` and `format_query`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
};
use homeostat_promql::{Expr, ExprKind, Matcher, ParseErrorKind, ParseErrors, parse, parse_metric_selector, print};
use serde_json::{Value, json};

use super::{
    PrometheusApi, ast_json,
    error::{ApiError, ErrorKind},
    limits::SELECTORS_MAX,
    params::Params,
};

impl PrometheusApi {
    /// The query of a request, or what is wrong with it.
    pub(crate) fn parse(&self, query: &str) -> Result<Expr, ApiError> {
        parse(query, &self.policy.language).map_err(|errors| refused("query", &errors))
    }
}

/// What the parser refuses is a bad parameter; what only evaluation would refuse, is told as evaluation tells it.
fn refused(parameter: &str, errors: &ParseErrors) -> ApiError {
    match errors.first() {
        Some(error) if error.kind == ParseErrorKind::Execution => {
            ApiError::new(ErrorKind::Execution, error.to_string())
        }
        _ => ApiError::parameter(parameter, errors),
    }
}

/// The selectors of all `match[]`. None may select everything.
pub(crate) fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let texts: Vec<&str> = params.all("match[]").collect();
    if texts.len() > SELECTORS_MAX {
        return Err(ApiError::bad_data(format!("more than {SELECTORS_MAX} match[] parameters")));
    }
    let selector = |text: &&str| {
        let matchers = parse_metric_selector(text).map_err(|errors| refused("match[]", &errors))?;
        if matchers.iter().all(|matcher| matcher.matches("")) {
            return Err(ApiError::bad_data("match[] must contain at least one non-empty matcher"));
        }
        Ok(matchers)
    };
    texts.iter().map(selector).collect()
}

/// The matchers of all selectors within a query. Nesting is bounded by the parser.
pub(crate) fn selectors_within(expr: &Expr) -> Vec<Vec<Matcher>> {
    match &expr.kind {
        ExprKind::Vector(vector) => vec![vector.matchers.clone()],
        ExprKind::Matrix(matrix) => vec![matrix.vector.matchers.clone()],
        _ => children(expr).into_iter().flat_map(selectors_within).collect(),
    }
}

/// The expressions directly within another, in the order in which they are written.
fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Seconds(_) | ExprKind::Text(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {
            Vec::new()
        }
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => vec![inner],
        ExprKind::Binary(binary) => vec![&binary.left, &binary.right],
        ExprKind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
        ExprKind::Call(call) => call.args.iter().collect(),
        ExprKind::Subquery(subquery) => vec![&subquery.expr],
    }
}

/// The query as a tree, for explorers of queries.
pub(crate) async fn parse_query(
    State(api): State<Arc<PrometheusApi>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let params = Params::of(request).await?;
    let expr = api.parse(params.get("query"))?;
    Ok(Json(json!({ "status": "success", "data": ast_json::tree(&expr) })))
}

/// The query laid out over lines, as Prometheus does.
pub(crate) async fn format_query(
    State(api): State<Arc<PrometheusApi>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let params = Params::of(request).await?;
    let expr = api.parse(params.get("query"))?;
    Ok(Json(json!({ "status": "success", "data": print::pretty(&expr) })))
}
