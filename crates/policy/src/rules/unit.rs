//! Units of measure as the reference set `uom` knows them.

use std::sync::Arc;

use model::{Data, Domain, Golden, RecordKey, Reference, Topical};

use crate::{ratio::Ratio, rule::Context};

pub(crate) const SET: &str = "uom";

/// A unit's golden reference record.
pub(crate) struct Unit(Arc<Golden>);

impl Unit {
    pub(crate) fn reference(&self) -> &Reference {
        match &self.0.data {
            Some(Data::Reference(reference)) => reference,
            _ => unreachable!("`find` keeps nothing else"),
        }
    }

    /// The unit that the factor leads to; a base unit leads to itself.
    fn base(&self) -> &str {
        let reference = self.reference();
        reference.base_code.as_deref().unwrap_or(&reference.code)
    }

    /// 1 unit in base units; none for counting units, and for scales with an offset, which no factor converts.
    fn factor(&self) -> Option<Ratio> {
        let reference = self.reference();
        if reference.offset.is_some_and(|offset| !offset.get().is_zero()) {
            return None;
        }
        match (reference.factor_num, reference.factor_den) {
            (None, None) if reference.base_code.is_none() => None,
            (None, None) if reference.base_code.as_deref() == Some(&reference.code) => Ratio::new(1, 1),
            (numerator, denominator) => Some(Ratio::new(numerator?, denominator.unwrap_or(1))?.shifted(reference.factor_exp)),
        }
    }

    pub(crate) fn dimension(&self) -> Option<&str> {
        self.reference().dimension.as_deref().filter(|dimension| !dimension.is_empty())
    }
}

/// The record of `code`; none when the set does not have it or has it no more.
pub(crate) fn find(context: &Context<'_>, code: &str) -> Option<Unit> {
    let key = RecordKey::new(Domain::Reference, &[SET, code]).ok()?;
    let golden = context.case.references.golden(Domain::Reference, &key)?;
    matches!(golden.data, Some(Data::Reference(_))).then_some(Unit(golden))
}

/// `reference/uom/<code>`; none when the code cannot be part of a key.
pub(crate) fn topical(code: &str) -> Option<Topical> {
    RecordKey::new(Domain::Reference, &[SET, code]).ok().map(|key| Topical::new(Domain::Reference, key))
}

/// How many `to` one `from` is by the standard table, and how far a correct statement may lie from it (relative).
pub(crate) struct Standard {
    pub(crate) factor: Ratio,
    pub(crate) tolerance: Ratio,
}

/// None unless both units measure the same thing and the table has a factor for both.
pub(crate) fn standard(from: &Unit, to: &Unit) -> Option<Standard> {
    let same = from.base() == to.base() && from.dimension() == to.dimension();
    if !same {
        return None;
    }
    let factor = from.factor()?.over(&to.factor()?);
    let mut tolerance = Ratio::new(1, 1_000_000_000)?;
    for unit in [from, to] {
        let reference = unit.reference();
        if !reference.factor_exact
            && let Some(half) = reference.factor_num.and_then(Ratio::half_a_digit)
        {
            tolerance = tolerance.plus(&half);
        }
    }
    Some(Standard { factor, tolerance })
}
