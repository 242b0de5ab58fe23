-- A table of mails that wait, and two who may use it: the worker, and who counts them.
CREATE ROLE homeostat LOGIN PASSWORD 'only for this example';
CREATE ROLE mailer LOGIN PASSWORD 'only for this example';
CREATE DATABASE shop;
\connect shop
CREATE TABLE mails (id bigserial PRIMARY KEY, sent_at timestamptz);
CREATE INDEX ON mails (id) WHERE sent_at IS NULL;
GRANT SELECT ON mails TO homeostat;
GRANT SELECT, UPDATE ON mails TO mailer;
