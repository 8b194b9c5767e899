"""Every text of the engine, in German."""

from __future__ import annotations

from popframe import errors
from popframe.engine.speech.english import English


class German(English):
    """The texts behind the status indicators."""

    tag = "de"
    name = "Deutsch"
    refusals = {  # noqa: RUF012 - a constant
        errors.Refusal.wire_text: "abgelehnt",
        errors.CommandSyntaxError.wire_text: "Befehl nicht verstanden",
        errors.EncryptionRequired.wire_text: "zuerst die Verbindung verschlüsseln",
        errors.MechanismRefused.wire_text: "Verfahren hier nicht vorhanden",
        errors.InvalidResponse.wire_text: "keine gültige Antwort",
        errors.ExchangeCancelled.wire_text: "Anmeldung abgebrochen",
        errors.NoSuchMessage.wire_text: "keine solche Nachricht",
        errors.ReadOnly.wire_text: "dieses Postfach kann nur gelesen werden",
        errors.AuthenticationFailed.wire_text: "Benutzername oder Passwort nicht angenommen",
        errors.MaildropInUse.wire_text: "Postfach ist gesperrt: eine andere Sitzung benutzt es",
        errors.LoginDelayed.wire_text: "die kürzeste Zeit zwischen zwei Anmeldungen ist noch nicht um",
        errors.TemporaryFailure.wire_text: "vorübergehende Störung im Server, bitte später noch einmal versuchen",
        # Of the server, which the engine knows nothing of.
        "too many connections, try again later": "zu viele Verbindungen, bitte später noch einmal versuchen",
        errors.PermanentFailure.wire_text: "Störung im Server, bitte seinen Betreiber um Hilfe",
    }
    ascii_letters = {  # noqa: RUF012
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "ß": "ss",
    }

    capability_list = "Liste der Fähigkeiten folgt"
    mechanism_listing = "Liste der Verfahren folgt"
    send_pass = "weiter mit PASS"  # noqa: S105 - no password
    unique_id_listing = "Liste der Kennungen folgt"
    top_of_message = "Anfang der Nachricht folgt"
    done = "erledigt"
    language_listing = "Liste der Sprachen folgt"
    language_chosen = "das ist Deutsch"
    no_such_language = "keine solche Sprache"
    utf8_mode = "UTF-8-Modus"
    needs_utf8_mode = "der Kopf der Nachricht geht über ASCII hinaus, vor der Anmeldung UTF8 sagen"

    def octets(self, octets: int) -> str:
        """RETR: how long the message is."""
        return f"{octets} Oktette"

    def messages(self, count: int, octets: int) -> str:
        """LIST and RSET: how many messages there are, and how long they are together."""
        return f"{count} Nachrichten ({octets} Oktette)"

    def deleted(self, number: int) -> str:
        """DELE: which message was marked."""
        return f"Nachricht {number} gelöscht"

    begin_tls = "TLS kann beginnen"
    bye = "auf Wiedersehen"
    not_all_removed = "einige gelöschte Nachrichten nicht entfernt"
    control_character = "Steuerzeichen im Befehl"
    wrong_state = "Befehl in diesem Zustand nicht erlaubt"
    unknown_command = "unbekannter Befehl"
    wrong_number_of_arguments = "falsche Anzahl von Argumenten"
    line_too_long = "Zeile zu lang"
    response_too_long = "Antwort zu lang"

    def maildrop(self, count: int, octets: int) -> str:
        """PASS: what is in the maildrop."""
        return f"im Postfach sind {count} Nachrichten ({octets} Oktette)"

    def left(self, count: int) -> str:
        """QUIT: how many messages stay."""
        return f"auf Wiedersehen, {count} Nachrichten übrig"
