//! Robots: accounts for programs.

use accounts::AccountName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Secret;
use crate::page::page;

page! {
    /// A page of robots: `GET /api/v1/robots?owner=&n=&last=`. If more follow, the response has a `Link`.
    Robots {
        /// Sorted by name.
        robots: Robot
    } by |entry| entry.name.to_string()
}

/// A robot: `GET /api/v1/robots/<owner>+<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Robot {
    /// The full name, with which the robot logs in: `acme+deploy`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Whether the robot is disabled and has no rights.
    pub disabled: bool,
    /// Text for people.
    pub description: String,
    /// Time of creation.
    pub created_at: u64,
    /// Approximate time of the last login.
    pub last_seen_at: Option<u64>,
}

/// Creates a robot: `POST /api/v1/robots`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRobot {
    /// The full name: the user or organisation that owns the robot, `+`, and the robot's name: `acme+deploy`.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// Text for people.
    #[serde(default)]
    pub description: String,
}

/// Changes a robot: `PATCH /api/v1/robots/<owner>+<name>`. Fields that are left out stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RobotChange {
    /// Whether the robot is disabled and has no rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The secret of a robot, shown only once: the response to `POST /api/v1/robots` and
/// `PUT /api/v1/robots/<owner>+<name>/secret`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RobotSecret {
    /// The full name of the robot.
    #[schemars(with = "String")]
    pub name: AccountName,
    /// The robot's password. The previous one stops working.
    pub secret: Secret,
}
