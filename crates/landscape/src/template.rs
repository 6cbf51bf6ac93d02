//! Reads a Jinja text without running it: which names and fields it uses, and whether the canonical model has them.
//!
//! The kind of every expression is followed as far as it is certain (`for plant in item.plants`, `selectattr`, `first`, ...);
//! where it is not, nothing is claimed.

use std::collections::{BTreeMap, BTreeSet};

use avro::fields::{Field, Kind};
use minijinja::{
    ErrorKind,
    machinery::ast::{CallArg, Expr, Macro, Stmt},
};

use crate::{shape::Shape, text, writes::Writes};

/// What is wrong, at a byte of the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// What a text may use.
pub(crate) struct Surroundings<'a> {
    /// `item`, `meta`, `row`, ...
    pub(crate) names: BTreeMap<&'static str, Shape>,
    /// Tables behind `lookup`, with their columns where these are declared.
    pub(crate) tables: BTreeMap<&'a str, Option<&'a [String]>>,
    /// Other mappings, for `include` and `import`.
    pub(crate) mappings: &'a BTreeSet<&'a str>,
    /// The canonical record that the text writes, for a source's mapping.
    pub(crate) writes: Option<(&'static [Field], String)>,
}

/// What was learned about one text.
#[derive(Default)]
pub(crate) struct Learned {
    pub(crate) findings: Vec<Finding>,
    /// `row.A.B` as `[A, B]`.
    pub(crate) columns: BTreeSet<Vec<String>>,
}

/// Names that Jinja itself has.
const OWN_NAMES: [&str; 12] =
    ["range", "dict", "namespace", "lookup", "lookup_all", "loop", "caller", "self", "super", "true", "false", "none"];

/// A whole template.
pub(crate) fn template(source: &str, around: &Surroundings<'_>) -> Learned {
    let syntax = minijinja::syntax::SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    let parsed = syntax.and_then(|syntax| minijinja::machinery::parse(source, "mapping", syntax));
    let Ok(parsed) = parsed else { return Learned::default() };
    let mut walk = Walk::new(source, around);
    walk.writes = around.writes.as_ref().map(|(fields, name)| Writes::new(fields, name));
    walk.statement(&parsed);
    walk.learned
}

/// One expression.
pub(crate) fn expression(source: &str, around: &Surroundings<'_>) -> Learned {
    let Ok(parsed) = minijinja::machinery::parse_expr(source) else { return Learned::default() };
    let mut walk = Walk::new(source, around);
    walk.expression(&parsed);
    walk.learned
}

struct Walk<'a> {
    source: &'a str,
    around: &'a Surroundings<'a>,
    engine: minijinja::Environment<'static>,
    scopes: Vec<BTreeMap<String, Shape>>,
    learned: Learned,
    writes: Option<Writes>,
}

impl<'a> Walk<'a> {
    fn new(source: &'a str, around: &'a Surroundings<'a>) -> Self {
        let own = around.names.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())).collect();
        Self {
            source,
            around,
            engine: mapping::environment(&mapping::Tables::default()),
            scopes: vec![own],
            learned: Learned::default(),
            writes: None,
        }
    }

    fn report(&mut self, offset: usize, message: String, hint: Option<String>) {
        self.learned.findings.push(Finding { offset, message, hint });
    }

    fn bind(&mut self, target: &Expr<'_>, shape: &Shape) {
        match target {
            Expr::Var(var) => {
                if let Some(scope) = self.scopes.last_mut() {
                    scope.insert(var.id.to_owned(), shape.clone());
                }
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.bind(item, &Shape::Any)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.bind(item, &Shape::Any)),
            other => {
                self.expression(other);
            }
        }
    }

    fn statements(&mut self, body: &[Stmt<'_>]) {
        for statement in body {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(raw) => {
                // A raw piece is a slice of the source, so its place follows from its address.
                let offset = (raw.raw.as_ptr() as usize).saturating_sub(self.source.as_ptr() as usize);
                if let Some(writes) = &mut self.writes {
                    writes.raw(raw.raw, offset, &mut self.learned.findings);
                }
            }
            Stmt::EmitExpr(emit) => {
                self.expression(&emit.expr);
                if let Some(writes) = &mut self.writes {
                    writes.value();
                }
            }
            Stmt::ForLoop(repeat) => {
                let element = self.expression(&repeat.iter).element();
                self.scopes.push(BTreeMap::new());
                self.bind(&repeat.target, &element);
                if let Some(filter) = &repeat.filter_expr {
                    self.expression(filter);
                }
                self.statements(&repeat.body);
                self.scopes.pop();
                self.branch(&repeat.else_body);
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr);
                let before = self.writes.clone();
                self.statements(&condition.true_body);
                let after = std::mem::replace(&mut self.writes, before);
                self.statements(&condition.false_body);
                self.writes = after;
            }
            Stmt::WithBlock(with) => {
                self.scopes.push(BTreeMap::new());
                for (target, value) in &with.assignments {
                    let shape = self.expression(value);
                    self.bind(target, &shape);
                }
                self.statements(&with.body);
                self.scopes.pop();
            }
            Stmt::Set(set) => {
                let shape = self.expression(&set.expr);
                self.bind(&set.target, &shape);
            }
            Stmt::SetBlock(set) => {
                self.aside(&set.body);
                self.bind(&set.target, &Shape::Any);
            }
            Stmt::AutoEscape(escape) => self.statements(&escape.body),
            Stmt::FilterBlock(filter) => self.aside(&filter.body),
            Stmt::Block(block) => self.statements(&block.body),
            Stmt::Import(import) => {
                self.other_mapping(&import.expr);
                self.bind(&import.name, &Shape::Any);
            }
            Stmt::FromImport(import) => {
                self.other_mapping(&import.expr);
                for (name, alias) in &import.names {
                    self.bind(alias.as_ref().unwrap_or(name), &Shape::Any);
                }
            }
            Stmt::Extends(extends) => self.other_mapping(&extends.name),
            Stmt::Include(include) => self.other_mapping(&include.name),
            Stmt::Macro(declared) => {
                if let Some(scope) = self.scopes.last_mut() {
                    scope.insert(declared.name.to_owned(), Shape::Any);
                }
                self.macro_body(declared);
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call.expr, &block.call.args);
                self.macro_body(&block.macro_decl);
            }
            Stmt::Do(statement) => {
                self.call(&statement.call.expr, &statement.call.args);
            }
        }
    }

    /// Text that is not written where it stands.
    fn aside(&mut self, body: &[Stmt<'_>]) {
        let writes = self.writes.take();
        self.statements(body);
        self.writes = writes;
    }

    /// A branch that may be left out.
    fn branch(&mut self, body: &[Stmt<'_>]) {
        let before = self.writes.clone();
        self.statements(body);
        self.writes = before;
    }

    fn macro_body(&mut self, declared: &Macro<'_>) {
        for default in &declared.defaults {
            self.expression(default);
        }
        self.scopes.push(BTreeMap::new());
        for argument in &declared.args {
            self.bind(argument, &Shape::Any);
        }
        self.aside(&declared.body);
        self.scopes.pop();
    }

    fn other_mapping(&mut self, name: &Expr<'_>) {
        let constant = name.as_const().and_then(|value| value.as_str().map(ToOwned::to_owned));
        if let Some(other) = constant.filter(|other| !self.around.mappings.contains(other.as_str())) {
            let hint = text::did_you_mean(&other, self.around.mappings.iter().copied());
            self.report(name.span().start_offset as usize, format!("there is no mappings/{other}"), hint);
        }
    }

    fn expression(&mut self, expression: &Expr<'_>) -> Shape {
        match expression {
            Expr::Var(var) => self.variable(var.id, var.span().start_offset as usize),
            Expr::Const(_) => Shape::Any,
            Expr::Slice(slice) => {
                for part in [&slice.start, &slice.stop, &slice.step].into_iter().flatten() {
                    self.expression(part);
                }
                self.expression(&slice.expr)
            }
            Expr::UnaryOp(unary) => {
                self.expression(&unary.expr);
                Shape::Any
            }
            Expr::BinOp(binary) => {
                self.expression(&binary.left);
                self.expression(&binary.right);
                Shape::Any
            }
            Expr::Compare(compare) => {
                self.expression(&compare.expr);
                for operand in &compare.ops {
                    self.expression(&operand.expr);
                }
                Shape::Any
            }
            Expr::IfExpr(condition) => {
                self.expression(&condition.test_expr);
                let shape = self.expression(&condition.true_expr);
                if let Some(other) = &condition.false_expr {
                    self.expression(other);
                }
                shape
            }
            Expr::Filter(filter) => {
                let base = filter.expr.as_ref().map_or(Shape::Any, |expr| self.expression(expr));
                self.filter(filter.name, &base, &filter.args, filter.span().start_offset as usize)
            }
            Expr::Test(test) => {
                // `is defined` is how a template asks whether a name is there.
                if !matches!(test.name, "defined" | "undefined") {
                    self.expression(&test.expr);
                }
                self.arguments(&test.args);
                if is_unknown(self.engine.empty_state().perform_test(test.name, &[]).map(drop), ErrorKind::UnknownTest) {
                    self.report(test.span().start_offset as usize, format!("there is no test `{}`", test.name), None);
                }
                Shape::Any
            }
            Expr::GetAttr(attribute) => {
                let base = self.expression(&attribute.expr);
                self.attribute(&base, attribute.name, expression)
            }
            Expr::GetItem(item) => {
                let base = self.expression(&item.expr);
                self.expression(&item.subscript_expr);
                match item.subscript_expr.as_const() {
                    Some(name) if name.as_str().is_some() => self.attribute(&base, name.as_str().unwrap_or_default(), expression),
                    _ => base.element(),
                }
            }
            Expr::Call(call) => self.call(&call.expr, &call.args),
            Expr::List(list) => {
                list.items.iter().for_each(|item| {
                    self.expression(item);
                });
                Shape::Any
            }
            Expr::Tuple(tuple) => {
                tuple.items.iter().for_each(|item| {
                    self.expression(item);
                });
                Shape::Any
            }
            Expr::Map(map) => {
                map.keys.iter().chain(&map.values).for_each(|item| {
                    self.expression(item);
                });
                Shape::Any
            }
        }
    }

    fn variable(&mut self, name: &str, offset: usize) -> Shape {
        if let Some(shape) = self.scopes.iter().rev().find_map(|scope| scope.get(name)) {
            return shape.clone();
        }
        if !OWN_NAMES.contains(&name) {
            let known: Vec<String> = self.scopes.iter().flat_map(|scope| scope.keys().cloned()).collect();
            let hint = text::nearest(name, known.iter().map(String::as_str)).map(|meant| format!("did you mean {meant}?"));
            self.report(offset, format!("{name} is not known here"), hint);
        }
        Shape::Any
    }

    fn attribute(&mut self, base: &Shape, name: &str, whole: &Expr<'_>) -> Shape {
        let span = whole.span();
        let written = self.source.get(span.start_offset as usize..span.end_offset as usize).unwrap_or(name).to_owned();
        match base.attribute(name) {
            Ok(shape) => {
                if let Shape::Row { path, .. } = &shape {
                    self.learned.columns.insert(path.clone());
                }
                shape
            }
            Err(unknown) => {
                let hint = unknown.meant.map(|meant| format!("did you mean {meant}?"));
                self.report(span.start_offset as usize, format!("{written} is not {}", unknown.what), hint);
                Shape::Any
            }
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(value) | CallArg::Kwarg(_, value) | CallArg::PosSplat(value) | CallArg::KwargSplat(value) => {
                    self.expression(value);
                }
            }
        }
    }

    fn call(&mut self, callee: &Expr<'_>, arguments: &[CallArg<'_>]) -> Shape {
        self.arguments(arguments);
        match callee {
            Expr::Var(var) if matches!(var.id, "lookup" | "lookup_all") => {
                let row = self.table(arguments.first());
                if var.id == "lookup" { row } else { Shape::ListOf(Box::new(row)) }
            }
            Expr::GetAttr(method) => {
                self.expression(&method.expr);
                Shape::Any
            }
            other => {
                self.expression(other);
                Shape::Any
            }
        }
    }

    /// The row of the table that a constant argument names.
    fn table(&mut self, argument: Option<&CallArg<'_>>) -> Shape {
        let Some(CallArg::Pos(name)) = argument else { return Shape::Any };
        let Some(table) = name.as_const().and_then(|value| value.as_str().map(ToOwned::to_owned)) else { return Shape::Any };
        match self.around.tables.get(table.as_str()) {
            Some(Some(columns)) => Shape::row(&format!("table {table}"), Some(columns)).unrecorded(),
            Some(None) => Shape::Any,
            None => {
                let hint = text::did_you_mean(&table, self.around.tables.keys().copied());
                self.report(name.span().start_offset as usize, format!("there is no table {table:?}"), hint);
                Shape::Any
            }
        }
    }

    fn filter(&mut self, name: &str, base: &Shape, arguments: &[CallArg<'_>], offset: usize) -> Shape {
        self.arguments(arguments);
        if is_unknown(self.engine.empty_state().apply_filter(name, &[]).map(drop), ErrorKind::UnknownFilter) {
            self.report(offset, format!("there is no filter `{name}`"), text::did_you_mean(name, FILTERS));
            return Shape::Any;
        }
        let keyword = |key: &str| {
            arguments.iter().find_map(|argument| match argument {
                CallArg::Kwarg(name, value) if *name == key => Some(value),
                _ => None,
            })
        };
        let first = arguments.iter().find_map(|argument| match argument {
            CallArg::Pos(value) => Some(value),
            _ => None,
        });
        match name {
            "first" | "last" | "min" | "max" => base.element(),
            "sort" | "unique" | "groupby" => {
                keyword("attribute").or(first.filter(|_| name == "groupby")).map(|value| self.element_attribute(base, value));
                if name == "groupby" { Shape::Any } else { base.clone() }
            }
            "selectattr" | "rejectattr" => {
                first.map(|value| self.element_attribute(base, value));
                base.clone()
            }
            "map" => match keyword("attribute") {
                Some(value) => Shape::ListOf(Box::new(self.element_attribute(base, value))),
                None => Shape::Any,
            },
            "select" | "reject" | "list" | "reverse" | "default" | "d" => base.clone(),
            "lookup" => self.table(arguments.first()),
            _ => Shape::Any,
        }
    }

    /// `attribute='plant'` of a list's elements.
    fn element_attribute(&mut self, list: &Shape, value: &Expr<'_>) -> Shape {
        let Some(name) = value.as_const().and_then(|value| value.as_str().map(ToOwned::to_owned)) else { return Shape::Any };
        name.split('.').fold(list.element(), |shape, part| match shape.attribute(part) {
            Ok(shape) => shape,
            Err(unknown) => {
                let hint = unknown.meant.map(|meant| format!("did you mean {meant}?"));
                self.report(value.span().start_offset as usize, format!("{name} is not {}", unknown.what), hint);
                Shape::Any
            }
        })
    }
}

/// Our own filters, for suggestions.
const FILTERS: [&str; 14] = [
    "text",
    "decimal",
    "integer",
    "date",
    "instant",
    "exclusive_end",
    "rational",
    "rec20_factor",
    "lookup",
    "selectattr",
    "map",
    "default",
    "tojson",
    "upper",
];

fn is_unknown(outcome: Result<(), minijinja::Error>, kind: ErrorKind) -> bool {
    outcome.is_err_and(|error| error.kind() == kind)
}

/// Line and column, from 1, of a byte.
pub(crate) fn place(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

/// The shape of a domain's data and of its meta, as payload mappings and scopes see them.
pub(crate) fn record_names(domain: model::Domain) -> BTreeMap<&'static str, Shape> {
    let schema: serde_json::Value = serde_json::from_str(avro::Schema::golden(domain).text()).unwrap_or_default();
    let meta = avro::fields::tree(&schema).into_iter().find(|field| field.name == "meta");
    BTreeMap::from([
        (domain.name(), Shape::Kind(Kind::Record(avro::fields::of(domain).to_vec()), record_name(domain).to_owned())),
        ("meta", meta.map_or(Shape::Any, |meta| Shape::Kind(meta.kind, "GoldenMeta".to_owned()))),
        ("key", Shape::Any),
        ("domain", Shape::Any),
    ])
}

pub(crate) fn record_name(domain: model::Domain) -> &'static str {
    match domain {
        model::Domain::Customer => "Customer",
        model::Domain::Item => "Item",
        model::Domain::WorkCenter => "WorkCenter",
        model::Domain::Reference => "Reference",
    }
}
