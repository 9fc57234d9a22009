//! A query's tree as JSON, in the form that Prometheus' own explorer reads (`web/api/v1/translate_ast.go`).

use homeostat_promql::{
    Expr, ExprKind, Matcher,
    ast::{
        Aggregate, At, Binary, Call, Duration, DurationKind, Extend, Group, Grouping, MatchLabels, Shift, Subquery,
        ValueType, VectorSelector,
    },
    functions::Arity,
};
use serde_json::{Map, Value, json};

use super::number::push_plain;

/// The tree of an expression.
pub(crate) fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(number) | ExprKind::Seconds(number) => {
            let mut text = Vec::new();
            push_plain(&mut text, *number);
            json!({ "type": "numberLiteral", "val": String::from_utf8_lossy(&text) })
        }
        ExprKind::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        ExprKind::Paren(inner) => json!({ "type": "parenExpr", "expr": tree(inner) }),
        ExprKind::Unary(op, inner) => json!({ "type": "unaryExpr", "op": op.as_str(), "expr": tree(inner) }),
        ExprKind::Binary(binary) => binary_tree(binary),
        ExprKind::Aggregate(aggregate) => aggregate_tree(aggregate),
        ExprKind::Call(call) => call_tree(call),
        ExprKind::Vector(vector) => Value::Object(selector("vectorSelector", vector)),
        ExprKind::Matrix(matrix) => {
            let mut object = selector("matrixSelector", &matrix.vector);
            object.insert("range".to_owned(), json!(millis(&matrix.range)));
            Value::Object(object)
        }
        ExprKind::Subquery(subquery) => subquery_tree(subquery),
    }
}

fn binary_tree(binary: &Binary) -> Value {
    let both_vectors = [&binary.left, &binary.right].into_iter().all(|side| side.value_type() == ValueType::Vector);
    json!({
        "type": "binaryExpr",
        "op": binary.op.as_str(),
        "lhs": tree(&binary.left),
        "rhs": tree(&binary.right),
        "matching": if both_vectors { matching(binary) } else { Value::Null },
        "bool": binary.returns_bool,
    })
}

fn matching(binary: &Binary) -> Value {
    let matching = &binary.matching;
    let (on, labels) = match &matching.labels {
        MatchLabels::On(labels) => (true, labels),
        MatchLabels::Ignoring(labels) => (false, labels),
    };
    let (card, include) = match &matching.group {
        Group::OneToOne if binary.op.is_set() => ("many-to-many", None),
        Group::OneToOne => ("one-to-one", None),
        Group::Left(include) => ("many-to-one", Some(include)),
        Group::Right(include) => ("one-to-many", Some(include)),
    };
    json!({
        "card": card,
        "labels": labels,
        "on": on,
        "include": include.cloned().unwrap_or_default(),
        "fillValues": { "lhs": matching.fill_left, "rhs": matching.fill_right },
    })
}

fn aggregate_tree(aggregate: &Aggregate) -> Value {
    let (without, grouping) = match &aggregate.grouping {
        Grouping::By(labels) => (false, labels),
        Grouping::Without(labels) => (true, labels),
    };
    json!({
        "type": "aggregation",
        "op": aggregate.op.as_str(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.param.as_ref().map(tree),
        "grouping": grouping,
        "without": without,
    })
}

fn call_tree(call: &Call) -> Value {
    let function = call.function;
    // -1 means any number of times.
    let variadic = match function.arity {
        Arity::Exact => 0,
        Arity::Optional(count) => count as i64,
        Arity::Repeated => -1,
    };
    json!({
        "type": "call",
        "func": {
            "name": function.name,
            "argTypes": function.args.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
            "variadic": variadic,
            "returnType": function.returns.as_str(),
        },
        "args": call.args.iter().map(tree).collect::<Vec<_>>(),
    })
}

fn selector(kind: &str, vector: &VectorSelector) -> Map<String, Value> {
    let mut object = Map::new();
    let matchers: Vec<Value> = vector.matchers.iter().map(matcher).collect();
    object.insert("type".to_owned(), json!(kind));
    object.insert("name".to_owned(), json!(vector.metric().unwrap_or_default()));
    object.insert("matchers".to_owned(), json!(matchers));
    object.insert("anchored".to_owned(), json!(vector.extend == Extend::Anchored));
    object.insert("smoothed".to_owned(), json!(vector.extend == Extend::Smoothed));
    insert_shift(&mut object, &vector.shift);
    object
}

fn matcher(matcher: &Matcher) -> Value {
    json!({ "name": &*matcher.name, "value": &*matcher.value, "type": matcher.op.as_str() })
}

fn subquery_tree(subquery: &Subquery) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("subquery"));
    object.insert("expr".to_owned(), tree(&subquery.expr));
    object.insert("range".to_owned(), json!(millis(&subquery.range)));
    object.insert("step".to_owned(), json!(subquery.step.as_ref().map_or(0, millis)));
    insert_shift(&mut object, &subquery.shift);
    Value::Object(object)
}

fn insert_shift(object: &mut Map<String, Value>, shift: &Shift) {
    let (timestamp, start_or_end) = match shift.at {
        None => (None, None),
        Some(At::Time(t_ms)) => (Some(t_ms), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
    };
    object.insert("offset".to_owned(), json!(shift.offset.as_ref().map_or(0, millis)));
    object.insert("timestamp".to_owned(), json!(timestamp));
    object.insert("startOrEnd".to_owned(), json!(start_or_end));
}

/// A duration that is only known when the query runs reads as 0, as in Prometheus.
fn millis(duration: &Duration) -> i64 {
    match duration.kind {
        DurationKind::Millis(millis) => millis,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use homeostat_promql::{ParseOptions, parse};

    use super::*;

    fn of(query: &str) -> Value {
        tree(&parse(query, &ParseOptions::all()).unwrap())
    }

    #[test]
    fn a_tree_has_what_the_explorer_reads() {
        let tree =
            of("sum by (job) (rate(x{a!~\"b\"}[5m] offset 1m)) / on (job) group_left (team) up @ end() > bool 1");
        let (divided, rate) = (&tree["lhs"], &tree["lhs"]["lhs"]["expr"]);
        assert_eq!(
            (&tree["type"], &tree["bool"], &tree["matching"]),
            (&json!("binaryExpr"), &json!(true), &Value::Null)
        );
        assert_eq!(divided["matching"]["card"], "many-to-one");
        assert_eq!(divided["matching"]["include"], json!(["team"]));
        assert_eq!(divided["rhs"]["startOrEnd"], "end");
        assert_eq!(divided["lhs"]["grouping"], json!(["job"]));
        assert_eq!(rate["func"]["argTypes"], json!(["matrix"]));
        let range = &rate["args"][0];
        assert_eq!((&range["range"], &range["offset"], &range["name"]), (&json!(300_000), &json!(60_000), &json!("x")));
        assert_eq!(range["matchers"][0], json!({ "name": "a", "value": "b", "type": "!~" }));
    }
}
