//! The words of a served form that its definition does not have, in the languages of most readers.

use crate::tracking::language::best;

/// The texts of one language.
pub(super) struct Words {
    /// Its tag (BCP 47).
    pub(super) language: &'static str,
    /// The button.
    pub(super) send: &'static str,
    /// The button while the response is pending.
    pub(super) wait: &'static str,
    /// A required field is empty.
    pub(super) required: &'static str,
    /// An address is none.
    pub(super) email: &'static str,
    /// No answer came.
    pub(super) failed: &'static str,
}

static ALL: [Words; 8] = [
    Words {
        language: "en",
        send: "Send",
        wait: "One moment…",
        required: "Please fill in this field.",
        email: "Please enter a valid e-mail address.",
        failed: "There was no answer. Please try again in a moment.",
    },
    Words {
        language: "de",
        send: "Absenden",
        wait: "Einen Moment …",
        required: "Bitte füllen Sie dieses Feld aus.",
        email: "Bitte geben Sie eine gültige E-Mail-Adresse ein.",
        failed: "Es kam keine Antwort. Bitte versuchen Sie es gleich noch einmal.",
    },
    Words {
        language: "fr",
        send: "Envoyer",
        wait: "Un instant…",
        required: "Veuillez remplir ce champ.",
        email: "Veuillez saisir une adresse e-mail valide.",
        failed: "Aucune réponse. Veuillez réessayer dans un instant.",
    },
    Words {
        language: "es",
        send: "Enviar",
        wait: "Un momento…",
        required: "Rellene este campo.",
        email: "Introduzca una dirección de correo válida.",
        failed: "No hubo respuesta. Vuelva a intentarlo en unos instantes.",
    },
    Words {
        language: "it",
        send: "Invia",
        wait: "Un momento…",
        required: "Compili questo campo.",
        email: "Inserisca un indirizzo e-mail valido.",
        failed: "Nessuna risposta. Riprovi tra qualche istante.",
    },
    Words {
        language: "nl",
        send: "Versturen",
        wait: "Een moment…",
        required: "Vul dit veld in.",
        email: "Vul een geldig e-mailadres in.",
        failed: "Er kwam geen antwoord. Probeer het zo meteen nog eens.",
    },
    Words {
        language: "pt",
        send: "Enviar",
        wait: "Um momento…",
        required: "Preencha este campo.",
        email: "Indique um endereço de e-mail válido.",
        failed: "Não houve resposta. Tente novamente dentro de momentos.",
    },
    Words {
        language: "pl",
        send: "Wyślij",
        wait: "Chwileczkę…",
        required: "Wypełnij to pole.",
        email: "Podaj prawidłowy adres e-mail.",
        failed: "Brak odpowiedzi. Spróbuj ponownie za chwilę.",
    },
];

/// The texts in the best language for an `Accept-Language`; English if there is none.
pub(super) fn of(accepted: &str) -> &'static Words {
    best(accepted, &ALL, |words| words.language).unwrap_or(&ALL[0])
}
