//! What is known about a value in a template without running it.

use avro::fields::Kind;

use crate::text;

/// The kind of a value, as far as it is certain.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Nothing is known, so nothing is claimed.
    Any,
    /// A value of the canonical model, with the name that messages use for it.
    Kind(Kind, String),
    /// A source's row, or what lies below it.
    Row {
        what: String,
        columns: Option<Vec<String>>,
        path: Vec<String>,
        recorded: bool,
    },
    ListOf(Box<Shape>),
}

/// A name that is not there.
pub(crate) struct Unknown {
    /// `a field of Item`.
    pub(crate) what: String,
    pub(crate) meant: Option<String>,
}

impl Shape {
    pub(crate) fn row(what: &str, columns: Option<&[String]>) -> Self {
        Self::Row { what: what.to_owned(), columns: columns.map(<[String]>::to_vec), path: Vec::new(), recorded: true }
    }

    /// A row whose columns are not those of the stream.
    pub(crate) fn unrecorded(self) -> Self {
        match self {
            Self::Row { what, columns, path, .. } => Self::Row { what, columns, path, recorded: false },
            other => other,
        }
    }

    pub(crate) fn attribute(&self, name: &str) -> Result<Self, Unknown> {
        match self {
            Self::Kind(Kind::Record(fields), record) => match fields.iter().find(|field| field.name == name) {
                Some(field) => {
                    let first = record.starts_with(|letter: char| letter.is_ascii_uppercase());
                    let below = if first { name.to_owned() } else { format!("{record}.{name}") };
                    Ok(Self::Kind(field.kind.clone(), below))
                }
                None => Err(Unknown {
                    what: format!("a field of {record}"),
                    meant: text::nearest(name, fields.iter().map(|field| field.name.as_str())).map(ToOwned::to_owned),
                }),
            },
            Self::Kind(Kind::Map(inner), record) => Ok(Self::Kind((**inner).clone(), format!("{record}.{name}"))),
            Self::Row { what, columns: Some(columns), path, .. } if path.is_empty() => {
                if columns.iter().any(|column| column == name) {
                    Ok(self.below(name))
                } else {
                    let meant = text::nearest(name, columns.iter().map(String::as_str)).map(ToOwned::to_owned);
                    Err(Unknown { what: format!("a column of {what}"), meant })
                }
            }
            Self::Row { .. } => Ok(self.below(name)),
            Self::Any | Self::Kind(..) | Self::ListOf(_) => Ok(Self::Any),
        }
    }

    fn below(&self, name: &str) -> Self {
        match self {
            Self::Row { what, path, recorded: true, .. } => {
                let path = path.iter().cloned().chain([name.to_owned()]).collect();
                Self::Row { what: what.clone(), columns: None, path, recorded: true }
            }
            _ => Self::Any,
        }
    }

    /// What a loop over the value yields.
    pub(crate) fn element(&self) -> Self {
        match self {
            Self::Kind(Kind::List(inner), name) => Self::Kind((**inner).clone(), name.clone()),
            Self::ListOf(inner) => (**inner).clone(),
            Self::Any | Self::Kind(..) | Self::Row { .. } => Self::Any,
        }
    }
}
