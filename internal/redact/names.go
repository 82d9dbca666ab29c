package redact

// secretHeaders are fields of heads and trailers whose values are always secret.
// Signatures are among them because they tell who knows the body's secrets which
// guess is right.
var secretHeaders = []string{
	"authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info", "cookie", "set-cookie", "cookie2", "set-cookie2",
	"x-api-key", "api-key", "apikey", "x-apikey", "x-api-token", "x-auth-token", "x-auth-key", "x-access-token", "x-session-token", "x-session-id", "x-user-token",
	"x-authorization", "x-forwarded-authorization", "x-original-authorization", "x-forwarded-access-token", "x-id-token", "x-refresh-token", "x-jwt-assertion",
	"x-csrf-token", "x-xsrf-token", "csrf-token", "private-token", "job-token", "deploy-token", "dpop",
	"x-amz-security-token", "x-aws-ec2-metadata-token", "x-goog-api-key", "x-goog-iap-jwt-assertion", "x-ms-client-principal", "x-ms-token-aad-access-token",
	"ocp-apim-subscription-key", "x-vault-token", "x-consul-token", "x-github-token", "x-gitlab-token", "x-shopify-access-token", "x-rapidapi-key",
	"x-hub-signature", "x-hub-signature-256", "stripe-signature", "x-slack-signature", "x-twilio-signature", "x-shopify-hmac-sha256", "x-webhook-signature",
	"x-secret", "x-client-secret", "x-password", "x-otp",
}

// secretFields are parameters of queries, members of JSON, fields of forms and
// multipart bodies, and elements of markup whose values are always secret.
var secretFields = []string{
	"password", "passwd", "pwd", "passphrase", "passcode", "password_hash", "new_password", "old_password", "current_password", "confirm_password",
	"password_confirmation", "password_confirm", "repeat_password", "user_password", "db_password",
	"secret", "secrets", "client_secret", "app_secret", "shared_secret", "webhook_secret", "signing_secret", "secret_key", "signing_key", "encryption_key", "private_key",
	"token", "tokens", "access_token", "refresh_token", "id_token", "auth_token", "session_token", "device_token", "bearer_token", "api_token", "reset_token",
	"oauth_token", "oauth_token_secret", "oauth_verifier", "security_token", "csrf_token", "xsrf_token", "csrf", "xsrf", "csrfmiddlewaretoken", "authenticity_token",
	"request_verification_token", "jwt", "bearer", "authorization", "proxy_authorization", "cookie", "set_cookie", "credentials", "credential",
	"api_key", "x_api_key", "apikey", "access_key", "access_key_secret", "secret_access_key", "aws_secret_access_key", "subscription_key", "auth_key",
	"session_id", "session_key", "jsessionid", "phpsessid", "client_assertion", "code_verifier", "saml_response", "saml_request",
	"otp", "totp", "pin", "pin_code", "mfa_code", "verification_code", "recovery_code", "recovery_codes", "backup_codes", "security_answer",
	"signature", "sig", "x_amz_signature", "x_amz_security_token", "x_amz_credential", "x_goog_signature", "x_goog_credential", "hmac",
	"card", "card_number", "card_no", "credit_card", "credit_card_number", "cc_number", "pan", "cvv", "cvv2", "cvc", "cvc2", "card_cvc", "card_cvv", "security_code",
	"iban", "account_number", "bank_account", "routing_number", "ssn", "social_security_number", "national_id", "tax_id", "passport_number",
}

// maxName bounds the names that are looked up, in bytes without what is folded.
const maxName = 63

// names is a set of names, whatever the case of their letters and with or without
// hyphens and underscores: accessToken is access_token. The zero value is empty.
type names struct {
	set    map[string]bool
	marked [64]uint64 // the bits that mark gives: most names are none of ours, and need no more than this
}

// mark returns the bit of a folded name, which is not empty.
func mark(f []byte) (word int, bit uint64) {
	n := (int(f[0])*31 + int(f[len(f)/2])*17 + int(f[len(f)-1])*7 + len(f)*3) & 4095
	return n >> 6, 1 << (n & 63)
}

// fold brings a name into the form in which names are compared. It returns nil
// if the name is too long to be one of ours.
func fold(room *[maxName]byte, name []byte) []byte {
	folded := room[:0]
	for _, c := range name {
		switch {
		case c == '-' || c == '_':
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if len(folded) == maxName {
			return nil
		}
		folded = append(folded, c)
	}
	return folded
}

func (n *names) add(name string) {
	var room [maxName]byte
	if f := fold(&room, []byte(name)); len(f) > 0 {
		if n.set == nil {
			n.set = map[string]bool{}
		}
		n.set[string(f)] = true
		word, bit := mark(f)
		n.marked[word] |= bit
	}
}

func (n *names) has(name []byte) bool {
	var room [maxName]byte
	f := fold(&room, name)
	if len(f) == 0 {
		return false
	}
	word, bit := mark(f)
	return n.marked[word]&bit != 0 && n.set[string(f)]
}

// path is a node of the tree of paths that fields name by dots. A nil path leads
// nowhere.
type path struct {
	next map[string]*path // by folded name
	leaf bool
}

func (p *path) add(parts []string) {
	for _, part := range parts {
		var room [maxName]byte
		key := string(fold(&room, []byte(part)))
		if p.next == nil {
			p.next = map[string]*path{}
		}
		if p.next[key] == nil {
			p.next[key] = &path{}
		}
		p = p.next[key]
	}
	p.leaf = true
}

// to returns where a name leads.
func (p *path) to(name []byte) *path {
	if p == nil || p.next == nil {
		return nil
	}
	var room [maxName]byte
	return p.next[string(fold(&room, name))]
}
