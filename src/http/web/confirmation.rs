//! Confirmations of dangerous actions: a form behind a disclosure, which says the effect, and may ask for a
//! name. It needs no script.

use std::fmt::Display;

use super::form::Form;
use super::page::Page;

/// The form of an action, as `confirm.html` shows it.
pub(crate) struct Confirmation {
    pub(super) address: String,
    pub(super) action: &'static str,
    /// The hidden fields.
    pub(super) fields: Vec<(&'static str, String)>,
    /// The object of the action.
    pub(super) subject: String,
    pub(super) summary: String,
    /// The summary with the object, for readers of a screen.
    pub(super) label: String,
    pub(super) effect: String,
    pub(super) asks_for_subject: bool,
}

impl Page {
    /// Returns a confirmation with the text `key` on its button. The text `<key>-label` names the object.
    pub(crate) fn confirm(&self, key: &str, subject: impl Display, effect: impl Display) -> Confirmation {
        Confirmation {
            address: String::new(),
            action: "",
            fields: Vec::new(),
            summary: self.t(key).into_owned(),
            label: self.with(&format!("{key}-label"), &subject),
            subject: subject.to_string(),
            effect: effect.to_string(),
            asks_for_subject: false,
        }
    }
}

impl Confirmation {
    /// Sends the form to a page, as this action.
    pub(crate) fn to(self, address: impl Display, action: &'static str) -> Self {
        Self { address: address.to_string(), action, ..self }
    }

    /// Adds a hidden field.
    pub(crate) fn field(mut self, name: &'static str, value: impl Display) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    /// Asks for the name of the object. The handler compares it with [`Form::confirms`].
    pub(crate) fn asking(self) -> Self {
        Self { asks_for_subject: true, ..self }
    }

    /// Returns an id that no other form of the page has.
    pub(super) fn id(&self) -> String {
        let values = self.fields.iter().map(|(_, value)| value.as_str());
        std::iter::once(self.action).chain(values).collect::<Vec<_>>().join("-")
    }
}

impl Form {
    /// Whether the form has the name of the object in its confirmation.
    pub(crate) fn confirms(&self, subject: impl Display) -> bool {
        self.text("confirmation") == subject.to_string()
    }
}
