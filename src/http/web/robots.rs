//! Robots on the pages of their owners: made, disabled and removed by forms of `robots.html`.

use accounts::AccountName;

use super::form::Form;
use super::manage::{Outcome, run};
use super::page::Page;
use crate::http::call::Call;
use crate::http::error::Error;

/// Runs an action on a robot of `owner`. Returns `None` for other actions.
pub(super) async fn act(
    call: &Call<'_>,
    page: &Page,
    form: &Form,
    owner: &AccountName,
) -> Result<Option<Outcome>, Error> {
    let (action, robot) = (form.text("action"), form.text("robot"));
    let robot = match &*action {
        "add-robot" => format!("{owner}+{robot}"),
        "robot-secret" | "disable-robot" | "enable-robot" | "remove-robot" => robot,
        _ => return Ok(None),
    };
    let Ok(robot) = robot.parse::<AccountName>() else {
        return Ok(Some(Outcome::problem(page.t("problem-name"))));
    };
    let outcome = match &*action {
        "add-robot" => {
            let description = form.text("description");
            let made = run(call, |manage| async move { manage.add_robot(&robot, description).await });
            Outcome::secret(page, made.await.map(|(_, secret)| secret), "robot-made")
        }
        "robot-secret" => {
            let made = run(call, |manage| async move { manage.new_robot_secret(&robot).await });
            Outcome::secret(page, made.await, "robot-secret-made")
        }
        "remove-robot" if !form.confirms(&robot) => Ok(Outcome::mismatch(page)),
        "remove-robot" => {
            let removed = run(call, |manage| async move { manage.remove_robot(&robot).await });
            Outcome::of(page, removed.await, "robot-removed")
        }
        _ => {
            let disabled = Some(action == "disable-robot");
            let changed =
                run(call, |manage| async move { manage.change_robot(&robot, disabled, None).await });
            Outcome::of(page, changed.await.map(drop), "robot-changed")
        }
    };
    outcome.map(Some)
}
