//! What must hold, in every state that can be reached or where nothing is left to happen.

use model::status::MessageState;

use crate::{
    protocol::Protocol,
    state::{AtVendor, Code, Flaw, PEOPLE, Row, State, Sums, mark},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The vendor has accepted nobody twice, but where an operator asked for it or the first one failed.
    AtMostOnce,
    NobodyIsLost,
    NobodyInTwoPlaces,
    CountsAgree,
    /// Nobody begins a call for an account that somebody else owns by then.
    OneOwnerCalls,
    NoRowTwice,
    /// What a row says of the vendor is what the vendor holds.
    RowsTellTheTruth,
    /// Where nothing is left to happen nobody is queued, sending or retrying, and no report waits.
    Ends,
    /// Nobody is unknown whose call never began: where there is one node, and its machine stays up.
    UnknownWereCalled,
}

impl Rule {
    pub const ALL: [Self; 8] = [
        Self::AtMostOnce,
        Self::NobodyIsLost,
        Self::NobodyInTwoPlaces,
        Self::CountsAgree,
        Self::OneOwnerCalls,
        Self::NoRowTwice,
        Self::RowsTellTheTruth,
        Self::Ends,
    ];

    /// Whether it holds in `state`; `is_over`: nothing goes on from there but faults.
    pub fn holds(self, state: &State, is_over: bool, protocol: &Protocol) -> bool {
        let everybody = |holds: fn(&State, usize) -> bool| (0..PEOPLE).all(|who| holds(state, who));
        match self {
            Self::AtMostOnce => everybody(at_most_once),
            Self::NobodyIsLost => everybody(|state, who| places(state, who) > 0),
            Self::NobodyInTwoPlaces => everybody(|state, who| places(state, who) < 2),
            Self::CountsAgree => counts_agree(state),
            Self::OneOwnerCalls => state.flaw != Some(Flaw::CalledWithoutOwning),
            Self::NoRowTwice => state.flaw != Some(Flaw::RowWasThere),
            Self::UnknownWereCalled => everybody(|state, who| {
                let died = |row: &Row| row.state == MessageState::Unknown && row.code == Code::ProcessDied;
                let row = state.database.messages[who].filter(died);
                row.is_none_or(|row| state.begun & mark(row.request, who) != 0)
            }),
            Self::RowsTellTheTruth => everybody(tells_the_truth),
            Self::Ends => !is_over || ends(state, protocol),
        }
    }
}

fn at_most_once(state: &State, who: usize) -> bool {
    let stands = |call: &&[AtVendor; PEOPLE]| matches!(call[who], AtVendor::Accepted | AtVendor::Delivered);
    state.vendor.iter().filter(stands).count() <= 1 + usize::from(state.operator[who].resends)
}

/// An open request names the person, newer than the message row's call, and no `retries` row waits.
fn is_sending(state: &State, who: usize) -> bool {
    let database = &state.database;
    let decided = database.messages[who].map_or(0, |row| row.request);
    database.retries[who].is_none() && database.open_for(who).is_some_and(|request| request > decided)
}

/// In how many places the rows say that the person is.
fn places(state: &State, who: usize) -> usize {
    let database = &state.database;
    let waits = database.retries[who].is_some();
    let by_row = match database.messages[who] {
        None => usize::from(waits),
        // Its place is that of the retry or of the call.
        Some(row) if row.state == MessageState::Retrying => usize::from(waits),
        Some(_) => 1 + usize::from(waits),
    };
    usize::from(who >= usize::from(database.cursor)) + usize::from(is_sending(state, who)) + by_row
}

/// As `campaignd audit`: the counts that deltas made are those of the rows, and add up to the total.
fn counts_agree(state: &State) -> bool {
    let database = &state.database;
    let mut recounted = Sums::default();
    for who in 0..PEOPLE {
        let place = match database.messages[who] {
            _ if is_sending(state, who) => Sums::sending(),
            Some(row) => Sums::message(row.state, row.code),
            None if database.retries[who].is_some() => Sums::waiting(),
            None => Sums::default(),
        };
        recounted.moved(Sums::default(), place);
    }
    recounted == database.counts
}

fn tells_the_truth(state: &State, who: usize) -> bool {
    let Some(row) = state.database.messages[who].filter(|_| !state.operator[who].has_decided) else {
        return true;
    };
    let at_vendor = state.vendor[usize::from(row.request) - 1][who];
    let holds = |held: fn(AtVendor) -> bool| state.vendor.iter().any(|call| held(call[who]));
    match row.state {
        MessageState::Accepted | MessageState::Sent => at_vendor.was_accepted(),
        MessageState::Delivered | MessageState::Read => holds(|call| call == AtVendor::Delivered),
        MessageState::Failed | MessageState::Retrying => {
            let never_left = row.code == Code::NeverLeft && at_vendor == AtVendor::Nothing;
            never_left || matches!(at_vendor, AtVendor::Refused | AtVendor::Failed)
        }
        MessageState::Unknown | MessageState::Suppressed | MessageState::Expired => true,
    }
}

fn ends(state: &State, protocol: &Protocol) -> bool {
    let database = &state.database;
    let is_settled = |who: usize| {
        let row = database.messages[who].filter(|row| row.state != MessageState::Retrying);
        row.is_some() && database.retries[who].is_none()
    };
    let no_early = database.early.is_empty() || !protocol.vendor_names_calls;
    let shown = database.counts.shown(database.cursor);
    (0..PEOPLE).all(is_settled)
        && database.requests.iter().all(Option::is_none)
        && database.inbox.is_empty()
        && no_early
        && shown.is_done()
        && shown.places() == PEOPLE as i64
}
