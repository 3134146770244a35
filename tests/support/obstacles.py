"""What a user's table may have that refuses a token's end, and how it is taken away again."""

from dataclasses import dataclass

# A trigger that does this when a token is to be handed on, or to fail.
ON_CLOSING = """
CREATE FUNCTION obstruct() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status NOT IN ('detected', 'generating') THEN {body} END IF;
    RETURN NEW;
END $$;
CREATE {kind} obstruct {when} ON tokens_s0 {deferred} FOR EACH ROW EXECUTE FUNCTION obstruct()"""
DROP = "DROP TRIGGER obstruct ON tokens_s0; DROP FUNCTION obstruct()"


@dataclass(frozen=True)
class Obstacle:
    """SQL that puts something in the way, SQL that takes it away, and a part of the message."""

    put: str
    take: str
    message: str


def trigger(body: str, message: str, when: str = "BEFORE UPDATE") -> Obstacle:
    put = ON_CLOSING.format(body=body, kind="TRIGGER", when=when, deferred="")
    return Obstacle(put, DROP, message)


def constraint(definition: str) -> Obstacle:
    return Obstacle(
        f"ALTER TABLE tokens_s0 ADD CONSTRAINT obstacle {definition}",
        "ALTER TABLE tokens_s0 DROP CONSTRAINT obstacle",
        "obstacle",
    )


DISCARDED = "a trigger"
OBSTACLES = {
    "a narrow column": Obstacle(
        "ALTER TABLE tokens_s0 ALTER image_url TYPE varchar(10)",
        "ALTER TABLE tokens_s0 ALTER image_url TYPE text",
        "value too long for type character varying(10)",
    ),
    "a domain": Obstacle(
        """CREATE DOMAIN short AS text CHECK (length(value) < 10);
           ALTER TABLE tokens_s0 ALTER image_url TYPE short""",
        "ALTER TABLE tokens_s0 ALTER image_url TYPE text; DROP DOMAIN short",
        "value for domain short violates check constraint",
    ),
    "a label that is missing": Obstacle(
        """ALTER TABLE tokens_s0 DROP CONSTRAINT tokens_s0_status_check,
           ADD CONSTRAINT obstacle CHECK (status IN ('detected', 'generating'))""",
        "ALTER TABLE tokens_s0 DROP CONSTRAINT obstacle",
        "obstacle",
    ),
    "a CHECK": constraint("CHECK (starts_with(image_url, 'ipfs:'))"),
    "a unique constraint": Obstacle(
        """ALTER TABLE tokens_s0 ADD only_one text GENERATED ALWAYS AS (left(image_url, 4)) STORED,
               ADD CONSTRAINT obstacle UNIQUE (only_one);
           INSERT INTO tokens_s0 (token_id, author_id, status, image_url)
           SELECT 0, author_id, 'ready', 'https://0' FROM tokens_s0 LIMIT 1""",
        "ALTER TABLE tokens_s0 DROP only_one; DELETE FROM tokens_s0 WHERE token_id = 0",
        "obstacle",
    ),
    "a unique index of an expression": Obstacle(
        """CREATE UNIQUE INDEX obstacle ON tokens_s0 (left(image_url, 4));
           INSERT INTO tokens_s0 (token_id, author_id, status, image_url)
           SELECT 0, author_id, 'ready', 'https://0' FROM tokens_s0 LIMIT 1""",
        "DROP INDEX obstacle; DELETE FROM tokens_s0 WHERE token_id = 0",
        "obstacle",
    ),
    "an exclusion": Obstacle(
        """ALTER TABLE tokens_s0
               ADD CONSTRAINT obstacle EXCLUDE ((left(image_url, 4)) WITH =);
           INSERT INTO tokens_s0 (token_id, author_id, status, image_url)
           SELECT 0, author_id, 'ready', 'https://0' FROM tokens_s0 LIMIT 1""",
        """ALTER TABLE tokens_s0 DROP CONSTRAINT obstacle;
           DELETE FROM tokens_s0 WHERE token_id = 0""",
        "obstacle",
    ),
    "a foreign key": Obstacle(
        """CREATE TABLE pins (url text PRIMARY KEY);
           ALTER TABLE tokens_s0
               ADD CONSTRAINT obstacle FOREIGN KEY (image_url) REFERENCES pins""",
        "DROP TABLE pins CASCADE",
        "obstacle",
    ),
    "a deferred foreign key": Obstacle(
        """CREATE TABLE pins (url text PRIMARY KEY);
           ALTER TABLE tokens_s0 ADD CONSTRAINT obstacle FOREIGN KEY (image_url)
               REFERENCES pins DEFERRABLE INITIALLY DEFERRED""",
        "DROP TABLE pins CASCADE",
        "obstacle",
    ),
    "an error that may not be empty": Obstacle(
        """UPDATE tokens_s0 SET generation_error = '';
           ALTER TABLE tokens_s0 ALTER generation_error SET NOT NULL""",
        "ALTER TABLE tokens_s0 ALTER generation_error DROP NOT NULL",
        "generation_error",
    ),
    "a trigger that raises": trigger("RAISE 'not today';", "not today"),
    "a trigger that raises as if the server went away": trigger(
        "RAISE 'going down' USING ERRCODE = '57P01';", "going down"
    ),
    "a trigger that fails afterwards": trigger("PERFORM 1 / 0;", "zero", "AFTER UPDATE"),
    "a trigger that raises at the commit": Obstacle(
        ON_CLOSING.format(
            body="RAISE 'not today';",
            kind="CONSTRAINT TRIGGER",
            when="AFTER UPDATE",
            deferred="DEFERRABLE INITIALLY DEFERRED",
        ),
        DROP,
        "not today",
    ),
    "a trigger that needs too long": trigger("PERFORM pg_sleep(60);", "statement timeout"),
    "a trigger that discards the change": trigger("RETURN NULL;", DISCARDED),
    "a trigger that takes the status back": trigger("NEW.status = OLD.status;", DISCARDED),
    "a trigger that takes the URL away": trigger("NEW.image_url = NULL;", DISCARDED),
    "a trigger that takes all back afterwards": trigger(
        """UPDATE tokens_s0 SET status = 'detected', image_url = NULL
           WHERE token_id = NEW.token_id;""",
        DISCARDED,
        "AFTER UPDATE",
    ),
}

# A trigger that obstructs the tokens in a table, each in its way, when a worker ends them.
BODIES = ("raise", "discard", "revert")
OF_SOME_TOKENS = """
CREATE TABLE obstructed (token_id integer, body text);
CREATE FUNCTION obstruct() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE way text := (SELECT body FROM obstructed o WHERE o.token_id = NEW.token_id);
BEGIN
    IF OLD.status <> 'generating' OR NEW.status = 'generating'
        OR current_setting('application_name') <> 'worker' THEN RETURN NEW; END IF;
    IF way = 'raise' THEN RAISE 'not today'; END IF;
    IF way = 'discard' THEN RETURN NULL; END IF;
    IF way = 'revert' THEN NEW.status = OLD.status; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER obstruct BEFORE UPDATE ON tokens_s0 FOR EACH ROW EXECUTE FUNCTION obstruct()"""
