//! What the page says, in the languages of most readers.

use crate::tracking::language::best;

/// The texts of one language, as HTML.
pub(super) struct Words {
    /// Its tag (BCP 47).
    pub(super) language: &'static str,
    /// Heading and button.
    pub(super) button: &'static str,
    /// Before the click.
    pub(super) ask: &'static str,
    /// After it.
    pub(super) done: &'static str,
    /// Where it could not be kept.
    pub(super) failed: &'static str,
}

static ALL: [Words; 8] = [
    Words {
        language: "en",
        button: "Unsubscribe",
        ask: "Do you want to stop receiving these emails?",
        done: "You have been unsubscribed. You will not receive these emails any more.",
        failed: "That did not work. Please try again in a moment.",
    },
    Words {
        language: "de",
        button: "Abmelden",
        ask: "Möchten Sie diese E-Mails nicht mehr erhalten?",
        done: "Sie sind abgemeldet und erhalten diese E-Mails nicht mehr.",
        failed: "Das hat nicht geklappt. Bitte versuchen Sie es gleich noch einmal.",
    },
    Words {
        language: "fr",
        button: "Se désabonner",
        ask: "Souhaitez-vous ne plus recevoir ces e-mails ?",
        done: "Vous êtes désabonné(e). Vous ne recevrez plus ces e-mails.",
        failed: "Cela n’a pas fonctionné. Veuillez réessayer dans un instant.",
    },
    Words {
        language: "es",
        button: "Darse de baja",
        ask: "¿Quiere dejar de recibir estos correos?",
        done: "Se ha dado de baja. Ya no recibirá estos correos.",
        failed: "No ha funcionado. Vuelva a intentarlo en unos instantes.",
    },
    Words {
        language: "it",
        button: "Annulla iscrizione",
        ask: "Non vuole più ricevere queste e-mail?",
        done: "La Sua iscrizione è stata annullata. Non riceverà più queste e-mail.",
        failed: "Non ha funzionato. Riprovi tra qualche istante.",
    },
    Words {
        language: "nl",
        button: "Afmelden",
        ask: "Wilt u deze e-mails niet meer ontvangen?",
        done: "U bent afgemeld. U ontvangt deze e-mails niet meer.",
        failed: "Dat is niet gelukt. Probeer het zo meteen nog eens.",
    },
    Words {
        language: "pt",
        button: "Cancelar subscrição",
        ask: "Deseja deixar de receber estes e-mails?",
        done: "A sua subscrição foi cancelada. Não receberá mais estes e-mails.",
        failed: "Não funcionou. Tente novamente dentro de momentos.",
    },
    Words {
        language: "pl",
        button: "Wypisz się",
        ask: "Czy nie chcesz już otrzymywać tych wiadomości?",
        done: "Subskrypcja została anulowana. Nie będziesz już otrzymywać tych wiadomości.",
        failed: "Nie udało się. Spróbuj ponownie za chwilę.",
    },
];

/// The texts in the best language for an `Accept-Language`; English if there is none.
pub(super) fn of(accepted: &str) -> &'static Words {
    best(accepted, &ALL, |words| words.language).unwrap_or(&ALL[0])
}
