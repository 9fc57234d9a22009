//! Templates as users write them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use homeostat_model::Labels;

struct Metrics;

impl Ask for Metrics {
    fn ask(&self, query: &str) -> Result<Vec<Sample>, String> {
        let sample = |instance: &str, value| Sample {
            labels: BTreeMap::from([
                ("__name__".to_owned(), "metric".to_owned()),
                ("instance".to_owned(), instance.to_owned()),
            ]),
            value,
        };
        match query {
            "metric" => Ok(vec![sample("b", 21.0), sample("a", 11.0)]),
            "none" => Ok(Vec::new()),
            other => Err(format!("no answer to {other}")),
        }
    }
}

fn rendered(text: &str) -> String {
    let labels = Labels::new([("instance", "db-1.example.org:9100"), ("job", "db"), ("empty", "")]);
    let external = Labels::new([("region", "eu")]);
    let data = Data {
        labels: &labels,
        value: 1234.5,
        external_labels: &external,
        external_url: "http://localhost:9090/metrics",
        t_ms: 1_435_065_584_500,
    };
    let template = Template::parse(text);
    template.and_then(|template| template.render(&data, &Metrics)).unwrap_or_else(|error| format!("!! {error}"))
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(rendered(text), *expected, "{text}");
    }
}

#[test]
fn what_rules_usually_say() {
    check(&[
        ("plain text", "plain text"),
        ("Instance {{ $labels.instance }} down", "Instance db-1.example.org:9100 down"),
        ("{{ .Labels.job }} in {{ $externalLabels.region }}: {{ $value }}", "db in eu: 1234.5"),
        ("{{ $labels.unknown }}|{{ .Value }}|{{ $externalURL }}", "|1234.5|http://localhost:9090/metrics"),
        ("{{ $value | humanize }} {{ $value | humanize1024 }}", "1.234k 1.206ki"),
        ("{{ printf \"%.2f\" $value }} {{ $value | printf \"%8.1f|\" }}", "1234.50   1234.5|"),
        ("{{ humanizeDuration $value }} {{ humanizePercentage 0.1234567 }}", "20m 34s 12.35%"),
        ("{{ 1435065584.128 | humanizeTimestamp }}", "2015-06-23 13:19:44.128 +0000 UTC"),
        ("{{ $labels.instance | stripPort | stripDomain }} {{ $labels.instance | stripDomain }}", "db-1 db-1:9100"),
        ("{{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}", "db-1.example.org"),
        ("{{ if match \"^db\" $labels.job }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ toUpper \"ab\" }}{{ toLower \"AB\" }}{{ title \"many small words\" }}", "ABabMany Small Words"),
        ("{{ graphLink \"up == 0\" }}", "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
        ("{{ pathPrefix }} {{ externalURL }} {{ now }}", "/metrics http://localhost:9090/metrics 1.4350655845e+09"),
        ("{{ parseDuration \"1h30m\" }} {{ toDuration 90 }} {{ 90.5 | toDuration }}", "5400 1m30s 1m30.5s"),
    ]);
}

#[test]
fn numbers_for_people() {
    check(&[
        ("{{ range $x := args }}{{ end }}{{ humanize 0.0 }} {{ humanize 1.0 }} {{ humanize 1234567.0 }}", "0 1 1.235M"),
        (
            "{{ humanize .11 }} {{ humanize \"NaN\" }} {{ humanize \"+Inf\" }} {{ humanize \"1e30\" }}",
            "110m NaN +Inf 1e+06Y",
        ),
        ("{{ humanize1024 0.5 }} {{ humanize1024 1024 }} {{ humanize1024 1048576 }}", "0.5 1ki 1Mi"),
        ("{{ humanizeDuration 0 }} {{ humanizeDuration 1 }} {{ humanizeDuration 60 }}", "0s 1s 1m 0s"),
        (
            "{{ humanizeDuration 3600 }} {{ humanizeDuration 86400 }} {{ humanizeDuration -86462 }}",
            "1h 0m 0s 1d 0h 0m 0s -1d 0h 1m 2s",
        ),
        ("{{ humanizeDuration .1 }} {{ humanizeDuration .0001 }} {{ humanizeDuration 899.99 }}", "100ms 100us 14m 59s"),
        (
            "{{ humanizeDuration .12345 }} {{ humanizeDuration 60.1 }} {{ humanizeDuration 12.34567 }}",
            "123.5ms 1m 0s 12.35s",
        ),
        ("{{ 1e6 }} {{ 100000.0 }} {{ 1e-5 }} {{ 0x10 }} {{ 'a' }}", "1e+06 100000 1e-05 16 97"),
        ("{{ printf \"%d %5d|%-5d|%05d %+d %x\" 1 2 3 4 5 255 }}", "1     2|3    |00004 +5 ff"),
        ("{{ printf \"%s %q %v %t %%\" \"a\" \"b\" 1.5 true }}", "a \"b\" 1.5 true %"),
        ("{{ printf \"%e %g %.3g\" 1234.5 1234.5 1234.5 }}", "1.234500e+03 1234.5 1.23e+03"),
        (
            "{{ printf \"%d\" 1.5 }}{{ printf \"%s\" }}{{ printf \"a\" 1 }}",
            "%!d(float64=1.5)%!s(MISSING)a%!(EXTRA int=1)",
        ),
    ]);
}

#[test]
fn branches_ranges_and_variables() {
    check(&[
        ("{{ if gt $value 1000.0 }}high{{ else if gt $value 10.0 }}some{{ else }}low{{ end }}", "high"),
        ("{{ if and (gt $value 1.0) (ne $labels.job \"x\") }}both{{ end }}", "both"),
        ("{{ with $labels.empty }}{{ . }}{{ else }}none{{ end }}", "none"),
        ("{{ with query \"metric\" }}{{ . | first | value }}{{ end }}", "21"),
        (
            "{{ range query \"metric\" | sortByLabel \"instance\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}",
            "a=11;b=21;",
        ),
        ("{{ range $i, $x := query \"metric\" }}{{ if $i }}, {{ end }}{{ label \"instance\" $x }}{{ end }}", "b, a"),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
        (
            "{{ range query \"metric\" }}{{ if eq .Value 21.0 }}{{ continue }}{{ end }}{{ .Value }}{{ break }}{{ end }}",
            "11",
        ),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 3 }}{{ end }}{{ $x }}", "2"),
        (
            "{{ range $name, $value := $labels }}{{ $name }}:{{ $value }} {{ end }}",
            "instance:db-1.example.org:9100 job:db ",
        ),
        ("a {{- /* gone */ -}} b{{/* too */}}", "ab"),
        ("a  {{- 1 -}}  b {{ 2 }} c", "a1b 2 c"),
        ("{{ define \"x\" }}<{{ . }}>{{ end }}{{ template \"x\" 5 }}{{ tmpl \"x\" $labels.job }}", "<5><db>"),
        ("{{ or \"\" \"b\" }}{{ and \"a\" \"\" }}{{ not true }} {{ len $labels }}", "bfalse 2"),
        ("{{ index $labels \"job\" }} {{ (query \"metric\" | first).Value }} {{ slice \"abcd\" 1 3 }}", "db 21 bc"),
        ("{{ print 1 2 \"a\" 3 }}|{{ `raw \"x\"` }}|{{ \"tab\\tü\\u00e9\" }}", "1 2a3|raw \"x\"|tab\tüé"),
        ("{{ $labels }}", "map[instance:db-1.example.org:9100 job:db]"),
        ("{{ html \"<a>\" }} {{ urlquery \"a b&c\" }} {{ js \"it's\" }}", "&lt;a&gt; a+b%26c it\\'s"),
    ]);
}

#[test]
fn mistakes_are_told() {
    for (text, expected) in [
        ("{{ $labels.job", "unclosed action"),
        ("{{ if true }}", "unexpected EOF"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ unknown 1 }}", "function \"unknown\" not defined"),
        ("{{ $nobody }}", "undefined variable \"$nobody\""),
        ("{{ }}", "missing value for command"),
        ("{{ gt $value 1 }}", "incompatible types for comparison: float64 and int; write the whole number as `1.0`"),
        ("{{ toUpper 1.5 }}", "toUpper does not take (float64)"),
        ("{{ query \"bad\" }}", "error calling query: no answer to bad"),
        ("{{ query \"none\" | first }}", "first() called on vector with no elements"),
        ("{{ .Nothing }}", "can't evaluate field Nothing in type struct"),
        ("{{ \"a }}", "unterminated quoted string"),
        ("{{ break }}", "{{break}} outside {{range}}"),
        ("{{ template \"x\" }}", "template \"x\" not defined"),
        ("{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}", "levels deep"),
        ("{{ range 1000000 }}{{ range 1000000 }}{{ end }}{{ end }}", "steps"),
        ("{{ match \"(\" \"a\" }}", "error parsing regexp: missing closing ): `(`"),
        ("{{ ((((1)))) | 2 }}", "takes no arguments"),
    ] {
        let said = rendered(text);
        assert!(said.starts_with("!! ") && said.contains(expected), "{text}: {said}");
    }
    assert!(rendered(&"{{ if 1 }}".repeat(100)).contains("levels of nesting"));
    assert!(rendered(&format!("{{{{ {}1{} }}}}", "(".repeat(100), ")".repeat(100))).contains("levels of nesting"));
}

#[test]
fn texts_that_double_end_with_an_error() {
    for (text, expected) in [
        (
            "{{ $x := \"ab\" }}{{ range 64 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}",
            "a text has more than 1048576 bytes",
        ),
        ("{{ $x := args \"ab\" }}{{ range 64 }}{{ $x = args $x $x }}{{ end }}", "a text has more than"),
        ("{{ $x := `\\` }}{{ range 64 }}{{ $x = js $x }}{{ end }}", "bytes"),
        (
            "{{ $x := \"ab\" }}{{ range 64 }}{{ $x = reReplaceAll \".\" \"$0$0$0\" $x }}{{ end }}",
            "a text has more than",
        ),
        ("{{ $x := \"ab\" }}{{ range 64 }}{{ $x = reReplaceAll \"\" $x $x }}{{ end }}", "a text has more than"),
        (
            "{{ $x := printf \"%1000s\" \"\" }}{{ range 100000 }}{{ $y := toUpper $x }}{{ end }}",
            "the texts of the template",
        ),
    ] {
        let said = rendered(text);
        assert!(said.starts_with("!! ") && said.contains(expected), "{text}: {said}");
    }
    assert_eq!(rendered("{{ reReplaceAll \"(d)(b)\" \"<$2$1>\" \"adb db\" }}"), "a<bd> <bd>");
}

proptest! {
    #[test]
    fn no_text_stops_us(text in "(\\{\\{|\\}\\}|-| |if|end|else|range|with|\\$labels|\\.|\\(|\\)|\\||\"|humanize|1|printf|:=|\\$x|,){0,20}") {
        rendered(&text);
    }
}
