//! The parser: what the printer writes, and a little more by hand (types left out, comments, any order of attributes).

use super::cursor::Cursor;
use super::print::{Anchor, Path};
use super::tensor::{Resolve, float_bits, no_files, typed};
use super::types;
use crate::attr::{Attr, Attrs};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use crate::ops;
use crate::tensor::Tensor;
use crate::types::Type;
use std::collections::HashMap;
use std::sync::Arc;

/// Reads the graphs of a text.
///
/// # Errors
/// When the text is not in this form, names an unknown operator or attribute, or uses an undefined value; with line and
/// column. Types are not checked: [`verify`](crate::verify) does that.
pub fn parse(text: &str) -> Result<Vec<Graph>> {
    parse_with(text, &no_files)
}

/// As [`parse`], with a source for tensors that stand outside of the text.
///
/// # Errors
/// As [`parse`], and those of `resolve`.
pub fn parse_with(text: &str, resolve: &dyn Fn(&super::TensorRef) -> Result<Tensor>) -> Result<Vec<Graph>> {
    Ok(parse_marked(text, resolve)?.graphs)
}

/// Graphs, and where their parts stand in the text.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The graphs in order.
    pub graphs: Vec<Graph>,
    marks: HashMap<(usize, Path, Anchor), usize>,
}

impl Parsed {
    /// The line, from 1, of a part of graph `index`.
    pub(crate) fn line_of(&self, index: usize, path: &Path, anchor: Anchor) -> Option<usize> {
        self.marks.get(&(index, path.clone(), anchor)).copied()
    }
}

/// As [`parse_with`], and remembers lines, for messages about graphs that were written by hand.
///
/// # Errors
/// As [`parse_with`].
pub fn parse_marked(text: &str, resolve: &dyn Fn(&super::TensorRef) -> Result<Tensor>) -> Result<Parsed> {
    let (marks, path) = (HashMap::new(), Path::new());
    let mut p = Parser { c: Cursor::new(text), resolve, index: 0, path, marks, marked: (0, 1) };
    let mut graphs: Vec<Graph> = Vec::new();
    while !p.c.at_end() {
        if !p.c.take_word("graph") {
            return Err(p.c.unexpected("`graph`"));
        }
        let start = p.c.at;
        let graph = p.graph()?;
        if graphs.iter().any(|g| g.name == graph.name) {
            return Err(p.c.error_at(start, format!("a graph \"{}\" stands above already", graph.name)));
        }
        graphs.push(graph);
        p.index += 1;
    }
    Ok(Parsed { graphs, marks: p.marks })
}

struct Parser<'a> {
    c: Cursor<'a>,
    resolve: Resolve<'a>,
    /// Number of the outermost graph.
    index: usize,
    /// From it to the present one.
    path: Path,
    marks: HashMap<(usize, Path, Anchor), usize>,
    /// A byte and its line: the last that was asked for.
    marked: (usize, usize),
}

/// Values by how they are written: a name, or a number for those without one.
type Scope = HashMap<Written, ValueId>;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Written {
    Name(String),
    Number(u64),
}

impl Parser<'_> {
    /// Notes the line of a part that begins at byte `at`; bytes come in rising order, so that lines are counted once.
    fn mark(&mut self, at: usize, anchor: Anchor) {
        let (last, line) = self.marked;
        let line = if at >= last { line + self.c.text[last..at].matches('\n').count() } else { self.c.line_of(at) };
        self.marked = (at, line);
        self.marks.insert((self.index, self.path.clone(), anchor), line);
    }

    /// After the word `graph`.
    fn graph(&mut self) -> Result<Graph> {
        let mut g = Graph::default();
        let mut scope = Scope::new();
        self.mark(self.c.at, Anchor::Header);
        self.c.want("@")?;
        g.name = self.name()?;
        self.c.want("(")?;
        while !self.c.take(")") {
            let v = self.argument(&mut g, &mut scope)?;
            g.inputs.push(v);
            if self.c.take("=") {
                g.values[v.index()].constant = Some(typed(&mut self.c, self.resolve)?);
            }
            if !self.c.take(",") {
                self.c.want(")")?;
                break;
            }
        }
        if self.c.take("[") {
            while !self.c.take("]") {
                let v = self.argument(&mut g, &mut scope)?;
                g.captures.push(v);
                if !self.c.take(",") {
                    self.c.want("]")?;
                    break;
                }
            }
        }
        self.c.want("->")?;
        let results = if self.c.take("(") { self.c.list(")", types::ty)? } else { vec![types::ty(&mut self.c)?] };
        self.c.want("{")?;
        while !self.c.take_word("return") {
            self.statement(&mut g, &mut scope)?;
        }
        self.mark(self.c.at, Anchor::Return);
        self.returned(&mut g, &scope, results)?;
        self.c.want("}")?;
        Ok(g)
    }

    fn returned(&mut self, g: &mut Graph, scope: &Scope, types: Vec<Type>) -> Result<()> {
        self.c.space();
        let start = self.c.at;
        while self.c.peek() == Some('%') {
            g.outputs.push(self.used(scope)?);
            if !self.c.take(",") {
                break;
            }
        }
        if g.outputs.len() != types.len() {
            let (n, m) = (g.outputs.len(), types.len());
            return Err(self.c.error_at(start, format!("{n} values are returned, the signature has {m} types")));
        }
        for (&v, ty) in g.outputs.iter().zip(types) {
            let have = &mut g.values[v.index()].ty;
            if *have == Type::Unknown {
                *have = ty;
            } else if *have != ty && ty != Type::Unknown {
                return Err(self.c.error_at(start, format!("a returned value is {have}, the signature says {ty}")));
            }
        }
        Ok(())
    }

    fn argument(&mut self, g: &mut Graph, scope: &mut Scope) -> Result<ValueId> {
        let v = self.defined(g, scope)?;
        self.c.want(":")?;
        g.values[v.index()].ty = types::ty(&mut self.c)?;
        Ok(v)
    }

    fn statement(&mut self, g: &mut Graph, scope: &mut Scope) -> Result<()> {
        // Results enter the scope after the operands are read: a node does not see its own results.
        let mut results: Vec<Option<(usize, Written, String)>> = Vec::new();
        self.c.space();
        let start = self.c.at;
        if matches!(self.c.peek(), Some('%')) || self.c.peek_word() == "_" {
            loop {
                if self.c.take_word("_") {
                    results.push(None);
                } else {
                    let at = self.c.at;
                    let (written, name) = self.definition()?;
                    results.push(Some((at, written, name)));
                }
                if !self.c.take(",") {
                    break;
                }
            }
            self.c.want("=")?;
        }
        self.c.space();
        let op_at = self.c.at;
        self.mark(start, Anchor::Node(g.nodes.len()));
        let word = self.c.word("an operator")?;
        if word == "constant" && self.c.peek_word().parse::<DType>().is_ok() {
            let [Some(result)] = <[_; 1]>::try_from(results).unwrap_or([None]) else {
                return Err(self.c.error_at(start, "a constant has one name"));
            };
            let tensor = typed(&mut self.c, self.resolve)?;
            let v = self.define(g, scope, result)?;
            g.values[v.index()].ty = Type::tensor(tensor.dtype(), tensor.shape());
            g.values[v.index()].constant = Some(tensor);
            self.mark(start, Anchor::Constant(v));
            return Ok(());
        }
        let def =
            ops::find_mnemonic(word).ok_or_else(|| self.c.error_at(op_at, format!("there is no operator `{word}`")))?;
        let mut inputs = Vec::new();
        // On the mnemonic's line: what stands on the next may be the results of another node.
        let mut more = self.c.rest().trim_start_matches([' ', '\t']).starts_with(['%', '_']);
        while more {
            inputs.push(if self.c.take_word("_") { None } else { Some(self.used(scope)?) });
            more = self.c.take(",");
        }
        let mut captures = Vec::new();
        if self.c.take("[") {
            while !self.c.take("]") {
                captures.push(self.used(scope)?);
                if !self.c.take(",") {
                    self.c.want("]")?;
                    break;
                }
            }
        }
        let attrs = if self.c.take("{") { self.attrs(g.nodes.len())? } else { Attrs::new() };
        let op = (def.parse)(&attrs).map_err(|e| self.c.locate(op_at, e.of_op(def.name)))?;
        let mut types = Vec::new();
        self.c.space();
        let types_at = self.c.at;
        if self.c.take(":") {
            types.push(types::ty(&mut self.c)?);
            while self.c.take(",") {
                types.push(types::ty(&mut self.c)?);
            }
            let wanted = results.iter().flatten().count();
            if types.len() != wanted {
                let message = format!("{} types are given for {wanted} results", types.len());
                return Err(self.c.error_at(types_at, message));
            }
        }
        let name = if self.c.take("@") { self.name()? } else { String::new() };
        let mut types = types.into_iter();
        let mut outputs = Vec::with_capacity(results.len());
        for result in results {
            outputs.push(match result {
                None => None,
                Some(result) => {
                    let v = self.define(g, scope, result)?;
                    g.values[v.index()].ty = types.next().unwrap_or_default();
                    Some(v)
                }
            });
        }
        g.nodes.push(Node { op, name, inputs, captures, outputs });
        Ok(())
    }

    /// An identifier or a quoted text.
    fn name(&mut self) -> Result<String> {
        if self.c.peek() == Some('"') { self.c.string() } else { self.c.word("a name").map(str::to_owned) }
    }

    fn value(&mut self) -> Result<Written> {
        self.c.want("%")?;
        let start = self.c.at;
        if self.c.rest().starts_with('"') {
            let name = self.c.string()?;
            return if name.is_empty() {
                Err(self.c.error_at(start, "an empty name"))
            } else {
                Ok(Written::Name(name))
            };
        }
        let word = self.c.word("the name of a value")?;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map(Written::Number).map_err(|_| self.c.error_at(start, "a bad number of a value"));
        }
        Ok(Written::Name(word.to_owned()))
    }

    fn used(&mut self, scope: &Scope) -> Result<ValueId> {
        self.c.space();
        let start = self.c.at;
        let written = self.value()?;
        scope.get(&written).copied().ok_or_else(|| {
            let end = self.c.at;
            self.c.error_at(start, format!("`{}` is not defined above", &self.c.text[start..end]))
        })
    }

    /// A value where it is defined: how it is written, and its name.
    fn definition(&mut self) -> Result<(Written, String)> {
        let written = self.value()?;
        let name = match &written {
            Written::Name(name) => name.clone(),
            Written::Number(_) if self.c.rest().starts_with("@\"") => {
                self.c.want("@")?;
                self.c.string()?
            }
            Written::Number(_) => String::new(),
        };
        Ok((written, name))
    }

    fn defined(&mut self, g: &mut Graph, scope: &mut Scope) -> Result<ValueId> {
        self.c.space();
        let at = self.c.at;
        let (written, name) = self.definition()?;
        self.define(g, scope, (at, written, name))
    }

    fn define(&mut self, g: &mut Graph, scope: &mut Scope, value: (usize, Written, String)) -> Result<ValueId> {
        let (at, written, name) = value;
        if scope.contains_key(&written) {
            return Err(self.c.error_at(at, "this value is defined above already"));
        }
        let v = g.add_value(name, Type::Unknown);
        scope.insert(written, v);
        Ok(v)
    }

    /// After `{`.
    fn attrs(&mut self, node: usize) -> Result<Attrs> {
        let mut out = Attrs::new();
        loop {
            if self.c.take("}") {
                return Ok(out);
            }
            self.c.space();
            let at = self.c.at;
            let key = self.name()?;
            self.c.want("=")?;
            self.path.push((node, key.clone()));
            let attr = self.attr()?;
            self.path.pop();
            if out.insert(key, attr).is_some() {
                return Err(self.c.error_at(at, "this attribute stands twice"));
            }
            if !self.c.take(",") {
                self.c.want("}")?;
                return Ok(out);
            }
        }
    }

    fn attr(&mut self) -> Result<Attr> {
        match self.c.peek() {
            Some('"') => return self.c.string().map(Attr::String),
            Some('[') => return self.attr_list(),
            Some('(') => return self.term().map(Attr::Int),
            Some('-' | '+' | '0'..='9') => return self.number_attr(),
            _ => {}
        }
        let word = self.c.peek_word();
        match word {
            "nan" | "inf" | "float" => self.number_attr(),
            "true" | "false" => {
                self.c.take_word(word);
                Ok(Attr::Int(Dim::int((word == "true").into())))
            }
            "graph" => {
                self.c.take_word(word);
                self.c.enter()?;
                let body = self.graph();
                self.c.leave();
                Ok(Attr::Graph(Arc::new(body?)))
            }
            "type" => {
                self.c.take_word(word);
                types::ty(&mut self.c).map(Attr::Type)
            }
            "floats" | "strings" | "tensors" => {
                self.c.take_word(word);
                self.c.want("[")?;
                self.c.want("]")?;
                Ok(match word {
                    "floats" => Attr::Floats(vec![]),
                    "strings" => Attr::Strings(vec![]),
                    _ => Attr::Tensors(vec![]),
                })
            }
            _ => match word.parse::<DType>() {
                Ok(_) if self.c.rest()[word.len()..].starts_with('[') => {
                    typed(&mut self.c, self.resolve).map(Attr::Tensor)
                }
                Ok(dtype) => {
                    self.c.take_word(word);
                    Ok(Attr::DType(dtype))
                }
                Err(_) => Err(self.c.unexpected("the value of an attribute")),
            },
        }
    }

    /// A list of one kind.
    fn attr_list(&mut self) -> Result<Attr> {
        self.c.want("[")?;
        let start = self.c.at;
        let mut items = Vec::new();
        while !self.c.take("]") {
            if matches!(self.c.peek(), Some('[')) || self.c.peek_word() == "graph" {
                return Err(self.c.error("a list holds numbers, texts or tensors"));
            }
            items.push(self.attr()?);
            if !self.c.take(",") {
                self.c.want("]")?;
                break;
            }
        }
        let mixed = || self.c.error_at(start, "a list holds values of one kind: integers, floats, texts or tensors");
        macro_rules! all {
            ($kind:ident => $list:ident) => {
                items
                    .into_iter()
                    .map(|a| if let Attr::$kind(v) = a { Ok(v) } else { Err(mixed()) })
                    .collect::<Result<Vec<_>>>()
                    .map(Attr::$list)
            };
        }
        match items.first() {
            None | Some(Attr::Int(_)) => all!(Int => Ints),
            Some(Attr::Float(_)) => all!(Float => Floats),
            Some(Attr::String(_)) => all!(String => Strings),
            Some(Attr::Tensor(_)) => all!(Tensor => Tensors),
            Some(_) => Err(mixed()),
        }
    }

    /// `(n + 1)`.
    fn term(&mut self) -> Result<Dim> {
        self.c.want("(")?;
        let dim = types::dim(&mut self.c, &[')'])?;
        self.c.want(")")?;
        Ok(dim)
    }

    fn number_attr(&mut self) -> Result<Attr> {
        let marked = self.c.take_word("float");
        if marked {
            self.c.want("(")?;
        }
        let word = self.c.number()?;
        let at = self.c.at - word.len();
        if marked {
            self.c.want(")")?;
        } else if let Ok(v) = word.parse::<i64>() {
            return Ok(Attr::Int(Dim::int(v)));
        } else if word.starts_with("0x") || word.trim_start_matches(['-', '+']).bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.c.error_at(at, format!("`{word}` is no integer of 64 bits")));
        }
        match float_bits(DType::F32, word) {
            Some(bits) => Ok(Attr::Float(f32::from_bits(bits as u32))),
            None => Err(self.c.locate(at, Error::invalid(format!("`{word}` is no number")))),
        }
    }
}
