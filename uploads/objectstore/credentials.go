package objectstore

import (
	"os"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// credentials are asked for again before they expire, whoever gives them.
func (o Options) credentials() *credentials.Credentials {
	switch {
	case o.AccessKey != "":
		return credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken)
	case o.CredentialsFile != "":
		return credentials.NewFileAWSCredentials(o.CredentialsFile, o.Profile)
	case o.InstanceRole:
		return credentials.New(&credentials.IAM{Region: o.Region, Endpoint: o.RoleEndpoint})
	}
	return credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.EnvMinio{}})
}

// RoleHosts are the URLs at which a machine, a container or a pod may ask for
// the credentials of its role, as the environment says which of them it is.
func RoleHosts(region string) []string {
	switch {
	case os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "":
		if r := os.Getenv("AWS_REGION"); r != "" {
			region = r
		}
		return []string{"https://sts." + region + ".amazonaws.com", "https://sts." + region + ".amazonaws.com.cn", credentials.DefaultSTSRoleEndpoint}
	case os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "":
		return []string{credentials.DefaultECSRoleEndpoint}
	case os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		return []string{os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")}
	}
	return []string{credentials.DefaultIAMRoleEndpoint}
}
