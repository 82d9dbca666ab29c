package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/understudy-proxy/understudy/internal/store"
)

// migrations make of each version of the schema the next. The version is in the
// header of the file, as user_version. What was released is never changed: there
// are files that have been through it.
var migrations = []string{
	schema("clusters", "") + schema("pairs", "") + schema("noise", "") + schema("rollups", ", time") + schema("tallies", "") + schema("meta", "") +
		"CREATE INDEX pairs_by_parent ON pairs (parent);\n",
}

// schema makes a table of version 1. Tables have the same columns, so that one
// statement fits all.
func schema(name, key string) string {
	return "CREATE TABLE " + name + ` (
  mirror TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  name TEXT NOT NULL,
  parent TEXT NOT NULL,
  class TEXT NOT NULL,
  title TEXT NOT NULL,
  count INTEGER NOT NULL,
  first INTEGER,
  time INTEGER NOT NULL,
  value TEXT NOT NULL,
  blob BLOB,
  PRIMARY KEY (mirror, endpoint, name` + key + `)
) STRICT;
CREATE INDEX ` + name + "_by_time ON " + name + " (time);\n"
}

// migrate brings a database to the latest version in one transaction.
func migrate(ctx context.Context, db *sql.DB, migrations []string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("%w: its format is %d, and this one knows %d at most; use the newer version, or give --data another directory",
			store.ErrNewer, version, len(migrations))
	}
	for _, statements := range migrations[max(version, 0):] {
		if _, err := tx.ExecContext(ctx, statements); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(migrations))); err != nil {
		return err
	}
	return tx.Commit()
}
