//! Attributes: the constants of a node. An operator declares them with [`attributes!`](crate::attributes), which makes
//! the struct, its reading and its writing; an attribute that nobody reads fails the load.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::tensor::Tensor;
use crate::types::Type;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The value of an attribute.
#[derive(Clone, PartialEq, Debug)]
pub enum Attr {
    /// An integer, or a term over symbols where the generator has not yet chosen it.
    Int(Dim),
    /// A 32-bit float, as ONNX has it.
    Float(f32),
    /// Text.
    String(String),
    /// A tensor.
    Tensor(Tensor),
    /// A graph: the body of a control-flow operator.
    Graph(Arc<Graph>),
    /// An element type (an integer in ONNX).
    DType(DType),
    /// A type.
    Type(Type),
    /// Integers.
    Ints(Vec<Dim>),
    /// Floats.
    Floats(Vec<f32>),
    /// Texts.
    Strings(Vec<String>),
    /// Tensors.
    Tensors(Vec<Tensor>),
}

impl Attr {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Attr::Int(_) => "an integer",
            Attr::Float(_) => "a float",
            Attr::String(_) => "a string",
            Attr::Tensor(_) => "a tensor",
            Attr::Graph(_) => "a graph",
            Attr::DType(_) => "an element type",
            Attr::Type(_) => "a type",
            Attr::Ints(_) => "integers",
            Attr::Floats(_) => "floats",
            Attr::Strings(_) => "strings",
            Attr::Tensors(_) => "tensors",
        }
    }
}

impl From<i64> for Attr {
    fn from(v: i64) -> Attr {
        Attr::Int(Dim::int(v))
    }
}
impl From<f32> for Attr {
    fn from(v: f32) -> Attr {
        Attr::Float(v)
    }
}
impl From<&str> for Attr {
    fn from(v: &str) -> Attr {
        Attr::String(v.to_owned())
    }
}
impl From<Vec<i64>> for Attr {
    fn from(v: Vec<i64>) -> Attr {
        Attr::Ints(v.into_iter().map(Dim::int).collect())
    }
}
impl From<bool> for Attr {
    fn from(v: bool) -> Attr {
        Attr::Int(Dim::int(v.into()))
    }
}
impl From<Tensor> for Attr {
    fn from(v: Tensor) -> Attr {
        Attr::Tensor(v)
    }
}
impl From<DType> for Attr {
    fn from(v: DType) -> Attr {
        Attr::DType(v)
    }
}

/// Attributes by name, in alphabetical order.
pub type Attrs = BTreeMap<String, Attr>;

/// A Rust type that an attribute can be read into.
pub trait AttrField: Sized + PartialEq {
    /// Reads it; the error is what would have been right ("integers").
    fn read(attr: &Attr) -> Option<Self>;
    /// What it wants, for messages.
    const WANTED: &'static str;
    /// Whether it may be left out without a default.
    const OPTIONAL: bool = false;
    /// Whether it enters dimension arithmetic, so that it may be a term as well as a number.
    const OPEN: bool = false;
    /// Writes it; `None` leaves it out.
    fn write(&self) -> Option<Attr>;
    /// The value where the attribute is absent and has no default.
    fn absent() -> Option<Self> {
        None
    }
}

macro_rules! field {
    ($t:ty, $wanted:literal, $($pattern:pat $(if $guard:expr)? => $value:expr),+; $self_:ident => $write:expr $(; open = $open:literal)?) => {
        impl AttrField for $t {
            const WANTED: &'static str = $wanted;
            $(const OPEN: bool = $open;)?
            fn read(attr: &Attr) -> Option<Self> { match attr { $($pattern $(if $guard)? => $value,)+ #[allow(unreachable_patterns)] _ => None } }
            fn write(&self) -> Option<Attr> { let $self_ = self; Some($write) }
        }
    };
}
field!(i64, "an integer", Attr::Int(v) => v.as_int(); v => Attr::Int(Dim::int(*v)));
field!(bool, "0 or 1", Attr::Int(v) => v.as_int().map(|v| v != 0); v => Attr::Int(Dim::int((*v).into())));
field!(Dim, "an integer", Attr::Int(v) => Some(v.clone()); v => Attr::Int(v.clone()); open = true);
field!(f32, "a float", Attr::Float(v) => Some(*v); v => Attr::Float(*v));
field!(String, "a string", Attr::String(v) => Some(v.clone()); v => Attr::String(v.clone()));
field!(Tensor, "a tensor", Attr::Tensor(v) => Some(v.clone()); v => Attr::Tensor(v.clone()));
field!(Arc<Graph>, "a graph", Attr::Graph(v) => Some(v.clone()); v => Attr::Graph(v.clone()));
field!(DType, "an element type", Attr::DType(v) => Some(*v), Attr::Int(v) => DType::from_onnx(i32::try_from(v.as_int()?).ok()?); v => Attr::DType(*v));
field!(Type, "a type", Attr::Type(v) => Some(v.clone()); v => Attr::Type(v.clone()));
field!(Vec<Dim>, "integers", Attr::Ints(v) => Some(v.clone()); v => Attr::Ints(v.clone()); open = true);
field!(Vec<i64>, "integers", Attr::Ints(v) => v.iter().map(Dim::as_int).collect(); v => Attr::Ints(v.iter().map(|&v| Dim::int(v)).collect()));
field!(Vec<f32>, "floats", Attr::Floats(v) => Some(v.clone()), Attr::Ints(v) if v.is_empty() => Some(vec![]); v => Attr::Floats(v.clone()));
field!(Vec<String>, "strings", Attr::Strings(v) => Some(v.clone()), Attr::Ints(v) if v.is_empty() => Some(vec![]); v => Attr::Strings(v.clone()));
field!(Vec<Tensor>, "tensors", Attr::Tensors(v) => Some(v.clone()); v => Attr::Tensors(v.clone()));

impl<T: AttrField> AttrField for Option<T> {
    const WANTED: &'static str = T::WANTED;
    const OPTIONAL: bool = true;
    const OPEN: bool = T::OPEN;
    fn read(attr: &Attr) -> Option<Self> {
        T::read(attr).map(Some)
    }
    fn write(&self) -> Option<Attr> {
        self.as_ref().and_then(T::write)
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// Hands out a node's attributes and remembers which were asked for.
pub struct AttrReader<'a> {
    attrs: &'a Attrs,
    read: Vec<&'static str>,
}

impl<'a> AttrReader<'a> {
    /// Reads from `attrs`.
    pub fn new(attrs: &'a Attrs) -> AttrReader<'a> {
        AttrReader { attrs, read: Vec::new() }
    }

    /// The attribute `name`, its default, or an error that says what is wanted.
    pub fn field<T: AttrField>(&mut self, name: &'static str, default: Option<T>) -> Result<T> {
        self.read.push(name);
        match self.attrs.get(name) {
            Some(attr) => T::read(attr).ok_or_else(|| {
                Error::invalid(format!("attribute `{name}` must be {}, it is {}", T::WANTED, attr.kind()))
            }),
            None => default
                .or_else(T::absent)
                .ok_or_else(|| Error::invalid(format!("attribute `{name}` ({}) is missing", T::WANTED))),
        }
    }

    /// # Errors
    /// When an attribute was never read.
    pub fn finish(&self) -> Result<()> {
        match self.attrs.keys().find(|k| !self.read.contains(&k.as_str())) {
            Some(unread) => Err(Error::unsupported(format!("attribute `{unread}` is not known to this operator"))),
            None => Ok(()),
        }
    }
}

/// One attribute, for tables and help.
#[derive(Clone, Copy, Debug)]
pub struct AttrDoc {
    /// ONNX name.
    pub name: &'static str,
    /// What it is.
    pub wanted: &'static str,
    /// Default as Rust text, empty where there is none.
    pub default: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it may be a term, see [`AttrField::OPEN`].
    pub open: bool,
    /// First lines of its documentation.
    pub doc: &'static str,
}

impl AttrDoc {
    /// The values that a text attribute, or each of a list of texts, may have: the words that the documentation puts between
    /// backquotes. None where any text will do.
    pub fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        let is_text = matches!(self.wanted, "a string" | "strings");
        self.doc.split('`').skip(1).step_by(2).filter(move |w| is_text && !w.is_empty())
    }
}

/// A struct of attributes, made by [`attributes!`](crate::attributes).
pub trait Attributes: Sized {
    /// The table of attributes.
    const DOC: &'static [AttrDoc];
    /// Reads all of them.
    fn from_attrs(reader: &mut AttrReader<'_>) -> Result<Self>;
    /// Writes all of them, those at their default left out.
    fn to_attrs(&self) -> Attrs;
}

/// Declares an operator's attributes: `name: type` (required, or absent where the type is an `Option`) or
/// `name: type = default`.
#[macro_export]
macro_rules! attributes {
    ($(#[$meta:meta])* pub struct $Name:ident { $( $(#[doc = $doc:literal])* $field:ident : $ty:ty $(= $default:expr)? ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Debug)]
        pub struct $Name { $( $(#[doc = $doc])* pub $field: $ty, )* }

        impl $crate::attr::Attributes for $Name {
            const DOC: &'static [$crate::attr::AttrDoc] = &[$( $crate::attr::AttrDoc {
                name: $crate::attr::plain(stringify!($field)),
                wanted: <$ty as $crate::attr::AttrField>::WANTED,
                default: $crate::attributes!(@doc $($default)?),
                required: $crate::attributes!(@required $ty $(, $default)?),
                open: <$ty as $crate::attr::AttrField>::OPEN,
                doc: concat!($($doc, "\n"),*),
            } ),*];
            #[allow(unused_variables)]
            fn from_attrs(reader: &mut $crate::attr::AttrReader<'_>) -> $crate::error::Result<Self> {
                Ok($Name { $( $field: reader.field($crate::attr::plain(stringify!($field)), $crate::attributes!(@default $ty $(, $default)?))?, )* })
            }
            fn to_attrs(&self) -> $crate::attr::Attrs {
                #[allow(unused_mut)]
                let mut out = $crate::attr::Attrs::new();
                $(
                    let default: Option<$ty> = $crate::attributes!(@default $ty $(, $default)?);
                    if default.as_ref() != Some(&self.$field)
                        && let Some(attr) = $crate::attr::AttrField::write(&self.$field)
                    {
                        out.insert($crate::attr::plain(stringify!($field)).to_owned(), attr);
                    }
                )*
                out
            }
        }
    };
    (@default $ty:ty) => { None::<$ty> };
    (@default $ty:ty, $default:expr) => { Some::<$ty>($default.into()) };
    (@required $ty:ty) => { !<$ty as $crate::attr::AttrField>::OPTIONAL };
    (@required $ty:ty, $default:expr) => { false };
    (@doc) => { "" };
    (@doc $default:expr) => { stringify!($default) };
}

/// `r#type` as the attribute's plain name `type`.
pub const fn plain(name: &'static str) -> &'static str {
    let bytes = name.as_bytes();
    if bytes.len() > 2 && bytes[0] == b'r' && bytes[1] == b'#' { name.split_at(2).1 } else { name }
}
